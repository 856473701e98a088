// A plugin that exits, answers nonsense, or does not answer in time, says nothing of which event it failed on. Pages get narrower until it fails on one event alone,
// and that event is suspect. It may be innocent: where the plugin's own far side is unreachable, it fails on every event. So the plugin
// must have answered for a neighbour since it began to fail; if it has answered nothing, it gets a minute, and one event at most is blamed.

/// Decides whether the event that a plugin fails on is to blame, or the plugin.
package struct SuspectEvent: Sendable, Hashable {
  /// An event is not blamed before this many failures on it alone.
  package static let tries = 4
  /// How long a plugin that answers nothing is given.
  package static let patience = Duration.seconds(60)

  /// When the plugin began to fail; nil while it does not.
  private var began: ContinuousClock.Instant?
  /// The last event of the widest page that it has failed on since.
  private var last: Int64 = 0
  /// Whether it has answered a page since.
  private var hasAnswered = false
  private var sequence: Int64?
  private var failures = 0
  /// The event that was blamed though the plugin had answered nothing.
  private var guess: Int64?

  package init() {}

  /// The plugin failed on a page.
  ///
  /// - Returns: whether the page is one event, and that is to blame; if not, the plugin should get it again.
  package mutating func failed(on events: ClosedRange<Int64>, isAlone: Bool, at now: ContinuousClock.Instant) -> Bool {
    let began = began ?? now
    self.began = began
    last = max(last, events.upperBound)
    guard isAlone else { return false }
    failures = sequence == events.lowerBound ? failures + 1 : 1
    sequence = events.lowerBound
    guard failures >= Self.tries else { return false }
    if hasAnswered { return true }
    guard now - began >= Self.patience, guess ?? events.lowerBound == events.lowerBound else { return false }
    guess = events.lowerBound
    return true
  }

  /// The plugin answered a page that ends at `ceiling`.
  package mutating func answered(through ceiling: Int64) {
    if ceiling >= last { self = SuspectEvent() } else { hasAnswered = true }
  }
}
