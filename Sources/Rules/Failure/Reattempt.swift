/// When to try again after the server, or a session, is lost: one rule for all agents, verbs of a node and rebuilds.
///
/// An outage costs its own length and at most one more wait, so a server that does not answer, or does not yet, is tried twice a second. One
/// attempt costs it nothing then. A server that answers and refuses (a wrong password, no free connection, a store that cannot be followed)
/// waits for a person, and is asked less and less often, since each attempt costs it a process and a line in its log.
package struct Reattempt: Sendable, Hashable {
  /// Of an unreachable server.
  package static let longestAway = Duration.milliseconds(500)

  private var away = Backoff([.milliseconds(100), .milliseconds(250), longestAway])
  private var refused = Backoff()

  package init() {}

  package mutating func next(after failure: Problem) -> Duration {
    Self.isAway(failure) ? away.next() : refused.next()
  }

  package mutating func reset() {
    away.reset()
    refused.reset()
  }

  /// Starting up, shutting down, a lost connection, no writes yet: it may change at any moment without a person.
  static func isAway(_ failure: Problem) -> Bool {
    switch failure.code {
    case nil, .store(.standby): true
    case .sqlState(let code): code.hasPrefix("08") || code.hasPrefix("57P") || code == "25006"
    default: false
    }
  }
}
