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
  /// Whether a solo node refuses to run beside others.
  private let isAlone: Bool
  package nonisolated let marks = MarkBoard()
  private let health = HealthBoard()
  private let wishes = WishBoard()
  private let pulse = Pulse()
  private var shards: ShardSet?
  private var isReady = false

  package init(
    settings: Settings, version: String, node: String = nodeName(), observer: any Observer,
    manager: ServiceManager = ServiceManager(), isAlone: Bool = false
  ) {
    self.isAlone = isAlone
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
        let reporter = ServiceReporter(
          manager: manager, health: health, marks: marks, pulse: pulse, shared: { await self.sharedShards })
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
    let isSolo = settings.mode == .solo
    let locks = LockSession(
      options: ConnectionOptions(settings.database, url: settings.database.lockURL), node: node, version: version,
      mode: settings.mode.rawValue, company: isSolo ? (isAlone ? .none : .any) : .shared)
    // Before the node is ready, so that one that may not run here never seems to.
    let firstLocks = try await locks.openFirst(shards: settings.projections.names)
    let workMemory = settings.database.workMemory
    let pool = SessionPool(
      options, limit: settings.database.poolSize, name: "shard",
      prepare: { session in try await Daemon.prepareForShards(session, workMemory: workMemory) },
      clean: { session in
        // What a projection's statements left behind must not reach another projection.
        _ = try await session.script(
          "RESET ALL; RESET ROLE; RESET SESSION AUTHORIZATION; SELECT pg_advisory_unlock_all(); DISCARD TEMP; UNLISTEN *"
        )
        try await Daemon.prepareForShards(session, workMemory: workMemory)
      },
      onNotice: { observer.observe(.serverNotice(severity: $0.severity, message: $0.message)) })
    // Of its own, so that busy shards never keep the books from being written.
    let books = SessionPool(
      options, limit: 1, name: "books", prepare: { try await SessionBounds.work.apply(to: $0) })
    let (marks, health) = (marks, health)
    let (wishes, node) = (wishes, node)
    let shards = ShardSet { definition in
      ShardAgent(
        definition: definition, shape: shape, pool: pool, marks: marks, health: health, wishes: wishes,
        policy: { [self] in await settings.failurePolicy }, node: node, observer: observer)
    }
    // Before the first page, so that a shard that was stopped stays so over a restart.
    if let wished = try? await books.withSession(for: "books", { try await ShardWishes().all($0) }) {
      await wishes.take(wished)
    }
    self.shards = shards
    if isSolo { await shards.declare(settings.projections) }
    let pulse = pulse
    let leadership: any Service =
      isSolo
      ? SoloGuard(
        locks: locks, first: firstLocks, shards: { [self] in await self.settings.projections.names }, observer: observer
      )
      : LeadershipAgent(
        locks: locks, first: firstLocks, schema: settings.eventStore.schema, isWatched: settings.monitorsLocks,
        shards: shards, declared: { [self] in await self.settings.projections },
        pulse: pulse, observer: observer)
    let agents: [any Service] = [
      HighWaterAgent(
        options: options, settings: settings.eventStore, board: marks, pulse: pulse, observer: observer),
      LateArrivalAgent(
        shape: shape, settings: settings.eventStore, pool: books,
        takers: {
          await self.settings.projections.map { MarkTable.Taker(shard: "\($0.shard)", types: $0.takes) }
        }, node: node, observer: observer),
      WishAgent(board: wishes, pool: books),
      HealthWriter(board: health, pool: books, node: node),
      shards, leadership,
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
      await books.close()
      throw error
    }
    await pool.close()
    await books.close()
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
    let change = ShardSet.Change(from: settings.projections, to: new.projections)
    // With several nodes the agent of leadership hands them on, to whoever leads them.
    if settings.mode == .solo { await shards?.declare(new.projections) }
    settings.takeOver(new)
    observer.observe(.reloaded(added: change.added, removed: change.removed, changed: change.changed))
    return new
  }

  /// `batch` is found without its schema, and behind everything of the operator's own, so that no table of theirs is hidden.
  package static func prepareForShards(_ session: Session, workMemory: String? = nil) async throws {
    try await session.execute(
      """
      SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'tidemark'), false),
             CASE WHEN \(workMemory)::text IS NOT NULL THEN set_config('work_mem', \(workMemory)::text, false) END
      """
    )
    try await SessionBounds.work.apply(to: session)
  }

  private var sharedShards: Int? { settings.mode == .hotcold ? settings.projections.count : nil }
}
