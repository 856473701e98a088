package import Books
import Concurrency
import Rules
package import Settings
package import Systemd
package import Telemetry

/// A running node: follows its databases until it is told to stop.
package actor Daemon: Service {
  package private(set) var settings: Settings
  private let version: String
  private let observer: any Observer
  private let manager: ServiceManager
  private nonisolated let followers: [DatabaseFollower]
  private let settled: AsyncStream<Void>
  private let settle: AsyncStream<Void>.Continuation
  private var isReady = false

  /// - Parameters:
  ///   - isAlone: whether a solo node refuses to run beside others.
  ///   - schema: this program's schema; tests pass that of another version.
  package init(
    settings: Settings, version: String, node: String = nodeName(), observer: any Observer,
    manager: ServiceManager = ServiceManager(), isAlone: Bool = false,
    schema: Schema = .current
  ) {
    self.settings = settings
    self.version = version
    self.observer = observer
    self.manager = manager
    let (settled, settle) = AsyncStream.makeStream(of: Void.self)
    (self.settled, self.settle) = (settled, settle)
    followers = settings.perDatabase.map {
      DatabaseFollower(
        settings: $0, of: settings.databaseNames, version: version, node: node, observer: observer, isAlone: isAlone,
        schema: schema, onSettled: { settle.yield() })
    }
  }

  /// The marks of the first database.
  package nonisolated var marks: MarkBoard { followers[0].marks }
  /// The requests for shards of the first database.
  nonisolated var requests: RequestBoard { followers[0].requests }

  /// Runs until the stop, or until the task is cancelled.
  ///
  /// - Throws: ``Problem`` if the store cannot be followed and an operator must act.
  package func run() async throws {
    let (observer, manager, followers) = (observer, manager, followers)
    observer.observe(.started(version: version, mode: settings.mode, shards: settings.projections.count))
    let stop = Stop.current
    let handler = stop.onRequest { [settle] in
      manager.stopping()
      observer.observe(.stopping)
      settle.finish()
    }
    defer { stop.forget(handler) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await ServiceReporter(manager: manager, followers: followers).run() }
      group.addTask { await self.becomeReady() }
      for follower in followers { group.addTask { try await follower.run() } }
      do {
        for try await _ in group {}
      } catch is CancellationError {
        group.cancelAll()
      }
    }
    observer.observe(Task.isCancelled ? .stopTimedOut : .stopped)
    manager.drain()
  }

  /// Reports ready once every database has answered or turned out to be unreachable.
  private func becomeReady() async {
    var waiting = followers.count
    for await _ in settled {
      waiting -= 1
      if Stop.current.isRequested { return }
      guard waiting == 0 else { continue }
      isReady = true
      manager.ready()
      observer.observe(.ready)
      return
    }
  }

  /// Applies new settings: starts, ends or restarts the shards that were added, removed or changed; touches nothing else.
  ///
  /// Settings with problems change nothing. The daemon reports each problem, and each changed key that needs a restart.
  /// - Returns: the settings now in effect, or nil if nothing changed.
  @discardableResult
  package func reload(_ load: () throws(SettingsProblems) -> Settings) async -> Settings? {
    if isReady { manager.reloading() }
    defer { if isReady { manager.ready() } }
    let new: Settings
    do {
      new = try load()
    } catch {
      for problem in error.lines { observer.observe(.reloadRefused(problem: problem)) }
      return nil
    }
    for key in settings.keysThatNeedRestart(for: new) { observer.observe(.restartNeeded(key: key)) }
    let change = ShardSet.Change(from: settings.projections, to: new.projections)
    for follower in followers { await follower.takeOver(new) }
    settings.takeOver(new)
    observer.observe(.reloaded(added: change.added, removed: change.removed, changed: change.changed))
    return new
  }
}
