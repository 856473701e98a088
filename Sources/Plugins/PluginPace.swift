import Rules

/// Decides how many events to hand to a plugin at once.
///
/// A plugin must answer a page within its timeout, but the time it needs for an event is unknown: writing to memory
/// takes a microsecond, sending mail a second. So the limit halves when an answer does not come in time, and doubles
/// while pages take only a small part of the timeout. A page whose commit was too much for the server limits it for a while.
package struct PluginPace: Sendable, Hashable {
  package static let limits = 1...100_000
  package static let initial = 1_000
  /// Pages grow while they take at most one part in this many of the timeout.
  static let roomForMore = 8

  /// As far as the plugin's own time goes.
  private var pace = PluginPace.initial
  private var narrowed = NarrowedWidth()

  package init() {}

  package var limit: Int { Int(narrowed.narrowed(Int64(pace))) }

  package mutating func answered(_ count: Int, took: Duration, timeout: Duration) {
    if took > timeout / 2 {
      pace = clamped(min(limit, count) / 2)
    } else if count >= pace, took * Self.roomForMore <= timeout {
      pace = clamped(pace * 2)
    }
  }

  /// The plugin did not answer a page of this many events in time.
  package mutating func timedOut(_ count: Int) { pace = clamped(min(limit, count) / 2) }

  /// The server could not commit the answer to this many events, perhaps because of their number.
  package mutating func tooMuch(_ count: Int) { _ = narrowed.failed(at: Int64(count)) }

  /// The answer to this many events was committed.
  package mutating func committed(_ count: Int) {
    narrowed.applied(Int64(count), widest: Int64(Self.limits.upperBound))
  }

  private func clamped(_ limit: Int) -> Int { min(max(limit, Self.limits.lowerBound), Self.limits.upperBound) }
}
