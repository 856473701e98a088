/// When an agent that cannot do its work says so: after some seconds, since most failures pass at once, then less and less often; and when
/// it works again.
package struct AgentTrouble: Sendable {
  package static let patience = Duration.seconds(3)
  static let longestSilence = Duration.seconds(3600)

  private var since: ContinuousClock.Instant?
  private var due: ContinuousClock.Instant?
  private var intervals = Self.newIntervals
  /// Whether it has been reported and is not over.
  package private(set) var isTold = false

  private static var newIntervals: Doubling { Doubling(from: .seconds(60), upTo: longestSilence) }

  package init() {}

  /// The agent could not do its work.
  ///
  /// - Parameter lasted: how long it has been trying already, in this attempt.
  /// - Returns: how long it has not worked, if it is time to say so.
  package mutating func failed(at now: ContinuousClock.Instant, after lasted: Duration = .zero) -> Duration? {
    let began = since ?? now - lasted
    since = began
    guard now >= due ?? began + Self.patience else { return nil }
    due = now + intervals.next()
    isTold = true
    return now - began
  }

  /// The agent did its work.
  ///
  /// - Returns: how long it had not, if that was said.
  package mutating func worked(at now: ContinuousClock.Instant) -> Duration? {
    let lasted = isTold ? since.map { now - $0 } : nil
    self = AgentTrouble()
    return lasted
  }
}
