import Concurrency
import Synchronization
import Systemd

/// Tells systemd how the daemon is: its status line when it changed, and a sign of life for the watchdog while the agents turn over.
///
/// It runs on the same threads as the agents, so where those are stuck it is silent too, and the watchdog bites.
struct ServiceReporter: Service {
  var manager: ServiceManager
  var followers: [DatabaseFollower]

  static let interval = Duration.seconds(1)

  func run() async throws {
    var told = ""
    while !Task.isCancelled && !Stop.current.isRequested {
      var databases: [StatusLine.Database] = []
      for follower in followers {
        databases.append(
          StatusLine.Database(
            name: follower.name, mark: await follower.marks.current?.sequence, shards: await follower.health.entries,
            shared: await follower.sharedShards))
      }
      let line = StatusLine.text(databases)
      if line != told { manager.status(line) }
      told = line
      if followers.allSatisfy(\.pulse.isBeating) { manager.alive() }
      // Signs of life come twice as often as the watchdog wants them.
      let pause = min(Self.interval, (manager.watchdogInterval ?? .seconds(60)) / 3)
      await rest(for: pause)
    }
  }
}

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
