/// Decides how many events to hand to a plugin at once.
///
/// A plugin must answer a page within its timeout, but the time it needs for an event is unknown: writing to memory
/// takes a microsecond, sending mail a second. So the limit halves when an answer does not come in time, and doubles
/// while pages take only a small part of the timeout.
package struct PluginPace: Sendable, Hashable {
  package static let limits = 1...100_000
  package static let initial = 1_000
  /// Pages grow while they take at most one part in this many of the timeout.
  static let roomForMore = 8

  package private(set) var limit = PluginPace.initial

  package init() {}

  package mutating func answered(_ count: Int, took: Duration, timeout: Duration) {
    if took > timeout / 2 {
      limit = clamped(min(limit, count) / 2)
    } else if count >= limit, took * Self.roomForMore <= timeout {
      limit = clamped(limit * 2)
    }
  }

  /// The plugin did not answer a page of this many events in time.
  package mutating func timedOut(_ count: Int) { limit = clamped(min(limit, count) / 2) }

  private func clamped(_ limit: Int) -> Int { min(max(limit, Self.limits.lowerBound), Self.limits.upperBound) }
}
