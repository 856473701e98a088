/// How many events a plugin is handed at once.
///
/// A page must be answered within the plugin's timeout, and nobody knows how long it takes over an event: one that writes to memory takes a
/// microsecond, one that sends mail a second. So the limit halves when a page was not answered in time, and doubles while pages take
/// little of it.
package struct PluginPace: Sendable, Hashable {
  package static let limits = 1...100_000
  package static let initial = 1_000
  /// The share of the timeout up to which a page may grow.
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

  /// A page of so many events was not answered in time.
  package mutating func timedOut(_ count: Int) { limit = clamped(min(limit, count) / 2) }

  private func clamped(_ limit: Int) -> Int { min(max(limit, Self.limits.lowerBound), Self.limits.upperBound) }
}
