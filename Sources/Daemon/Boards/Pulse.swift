import Synchronization

/// The last signs of life of the agents that all others of a database depend on: the high-water agent and the leadership agent.
final class Pulse: Sendable {
  /// Statements time out after a minute, so a longer silence is not a slow server.
  static let longestSilence = Duration.seconds(120)

  private let last = Mutex<[String: ContinuousClock.Instant]>(["": .now])

  /// - Parameter agent: the agent that gives the sign. Once an agent has given one, it must continue.
  func beat(_ agent: String = "") { last.withLock { $0[agent] = .now } }

  /// Forgets all agents, before they start again.
  func begin() { last.withLock { $0 = ["": .now] } }

  var isBeating: Bool {
    let now = ContinuousClock.now
    return last.withLock { $0.values.allSatisfy { now - $0 < Self.longestSilence } }
  }
}
