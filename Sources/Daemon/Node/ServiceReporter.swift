import Concurrency
import Systemd

/// Reports to systemd: the status line when it changes, and a sign of life for the watchdog while the agents run.
///
/// It runs on the same threads as the agents, so if those are stuck, it is silent too and the watchdog restarts the daemon.
struct ServiceReporter: Service {
  var manager: ServiceManager
  var followers: [DatabaseFollower]

  static let interval = Duration.seconds(1)

  func run() async throws {
    var told = ""
    while !Stop.isDue {
      var databases: [StatusLine.Database] = []
      for follower in followers {
        databases.append(
          StatusLine.Database(
            name: follower.name, mark: await follower.marks.current?.sequence, shards: await follower.health.entries,
            declared: await follower.declaredShards, shared: await follower.sharedShards, away: follower.troubles.away,
            hindered: follower.troubles.hindered))
      }
      let line = StatusLine.text(databases)
      if line != told { manager.status(line) }
      told = line
      if followers.allSatisfy(\.pulse.isBeating) { manager.alive() }
      // At least three signs of life in each interval of the watchdog.
      let pause = min(Self.interval, (manager.watchdogInterval ?? .seconds(60)) / 3)
      await rest(for: pause)
    }
  }
}
