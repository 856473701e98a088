import EventStore
package import Postgres
import Projection
import ServiceLifecycle
package import Settings
package import Systemd
package import Telemetry

/// The whole of a running node: waits for the database, then follows it until it is told to stop.
package actor Daemon: Service {
  package private(set) var settings: Settings
  private let version: String
  private let node: String
  private let observer: any Observer
  private let manager: ServiceManager
  package nonisolated let marks = MarkBoard()
  private let health = HealthBoard()
  private let pulse = Pulse()
  private var shards: ShardSet?
  private var isReady = false

  package init(
    settings: Settings, version: String, node: String = nodeName(), observer: any Observer,
    manager: ServiceManager = ServiceManager()
  ) {
    self.settings = settings
    self.version = version
    self.node = node
    self.observer = observer
    self.manager = manager
  }

  /// Runs until the graceful shutdown of the service group, or until the task is cancelled.
  ///
  /// - Throws: ``StoreProblem`` where the store cannot be followed and only a person can help.
  package func run() async throws {
    let (observer, manager) = (observer, manager)
    observer.observe(.started(version: version, mode: settings.mode.rawValue, shards: settings.projections.count))
    try await withGracefulShutdownHandler {
      try await withThrowingTaskGroup(of: Void.self) { group in
        let reporter = ServiceReporter(manager: manager, health: health, marks: marks, pulse: pulse)
        group.addTask { try await reporter.run() }
        group.addTask { try await self.follow() }
        do {
          for try await _ in group {}
        } catch is CancellationError {
          group.cancelAll()
        }
      }
    } onGracefulShutdown: {
      manager.stopping()
      observer.observe(.stopping)
    }
    observer.observe(Task.isCancelled ? .stopTimedOut : .stopped)
  }

  /// From the first connection to the last page.
  private func follow() async throws {
    let options = ConnectionOptions(settings.database)
    let shape = try await Startup(settings: settings, options: options, observer: observer).run()
    let observer = observer
    let pool = SessionPool(
      options, limit: settings.database.poolSize, name: "shard",
      prepare: { session in try await Daemon.prepareForShards(session) },
      onNotice: { observer.observe(.serverNotice(severity: $0.severity, message: $0.message)) })
    let (marks, health) = (marks, health)
    let shards = ShardSet { definition in
      ShardAgent(definition: definition, shape: shape, pool: pool, marks: marks, health: health, observer: observer)
    }
    await shards.declare(settings.projections)
    self.shards = shards
    let agents: [any Service] = [
      HighWaterAgent(
        options: options, shape: shape, settings: settings.eventStore, board: marks,
        takers: {
          await shards.definitions.map { MarkTable.Taker(shard: "\($0.shard)", types: $0.takes) }
        }, pulse: pulse, node: node, observer: observer),
      HealthWriter(board: health, pool: pool, node: node),
      shards,
    ]
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for agent in agents { group.addTask { try await agent.run() } }
        isReady = true
        manager.ready()
        observer.observe(.ready)
        for try await _ in group {}
      }
    } catch {
      await pool.close()
      throw error
    }
    await pool.close()
  }

  /// Takes new settings over: shards that were added, removed or changed follow; nothing else is touched.
  ///
  /// Settings with problems change nothing. Each problem, and each key that is only read at the start, is told.
  /// - Returns: the settings that are now in effect, or nil where nothing was changed.
  @discardableResult
  package func reload(_ load: () throws(SettingsProblems) -> Settings) async -> Settings? {
    if isReady { manager.reloading() }
    defer { if isReady { manager.ready() } }
    let new: Settings
    do {
      new = try load()
    } catch {
      for problem in error.problems { observer.observe(.reloadRefused(problem: "\(problem)")) }
      return nil
    }
    for key in settings.keysThatNeedRestart(for: new) { observer.observe(.restartNeeded(key: key)) }
    let change = await shards?.declare(new.projections) ?? ShardSet.Change()
    settings.projections = new.projections
    settings.logLevel = new.logLevel
    observer.observe(.reloaded(added: change.added, removed: change.removed, changed: change.changed))
    return new
  }

  /// `batch` is found without its schema, and behind everything of the operator's own, so that no table of theirs is hidden.
  package static func prepareForShards(_ session: Session) async throws {
    try await session.execute(
      "SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'tidemark'), false)"
    )
  }
}
