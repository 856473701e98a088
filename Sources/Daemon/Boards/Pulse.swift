import Synchronization

/// The last signs of life of the agents of a database on whose turns everything else depends: the high-water agent, and the one that
/// leads.
final class Pulse: Sendable {
  /// Its statements end by themselves after a minute, so a longer silence is no slow server.
  static let longestSilence = Duration.seconds(120)

  private let last = Mutex<[String: ContinuousClock.Instant]>(["": .now])

  /// - Parameter agent: who gives the sign: each that ever gave one must go on.
  func beat(_ agent: String = "") { last.withLock { $0[agent] = .now } }

  /// What begins afresh gives its signs anew.
  func begin() { last.withLock { $0 = ["": .now] } }

  var isBeating: Bool {
    let now = ContinuousClock.now
    return last.withLock { $0.values.allSatisfy { now - $0 < Self.longestSilence } }
  }
}
