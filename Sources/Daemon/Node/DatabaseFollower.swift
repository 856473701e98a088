import Books
import Concurrency
import EventStore
import Postgres
import Rules
import Settings
import Telemetry

/// Follows one database: every agent that it needs, from the first connection to the last page.
///
/// Where the settings have several databases, each has a follower of its own, and one that cannot go on tries again by itself.
actor DatabaseFollower: Service {
  /// Of one of several databases; nil where there is only one.
  nonisolated let name: String?
  nonisolated let marks = MarkBoard()
  nonisolated let health = HealthBoard()
  nonisolated let requests = RequestBoard()
  nonisolated let pulse = Pulse()
  private var settings: Settings
  private let version: String
  private let node: String
  private let allDatabases: [String]
  private let observer: any Observer
  /// Whether a solo node refuses to run beside others.
  private let isAlone: Bool
  private let schema: Schema
  private var shards: ShardSet?
  /// The agents ran at least once. From then on only a stop ends this database's follower.
  private var hasFollowed = false
  private var onSettled: (@Sendable () async -> Void)?

  /// One of several databases is tried again after this long when only a person can help, who need not restart the others for it.
  static let retryProblemsAfter = Duration.seconds(30)

  /// - Parameters:
  ///   - databases: the names of all of them, where there are several.
  ///   - onSettled: called once, when the agents run; of several databases also when this one turned out to be away.
  init(
    settings: Settings, of databases: [String], version: String, node: String, observer: any Observer, isAlone: Bool,
    schema: Schema, onSettled: @escaping @Sendable () async -> Void
  ) {
    name = settings.database.name
    self.settings = settings
    self.version = version
    self.node = node
    allDatabases = databases
    self.observer = name.map { DatabaseObserver(observer, database: $0) } ?? observer
    self.isAlone = isAlone
    self.schema = schema
    self.onSettled = onSettled
  }

  /// - Throws: ``Problem`` where the only database cannot be followed and only a person can help.
  func run() async throws {
    while true {
      do {
        return try await follow()
      } catch is StoreChanged {
        observer.observe(.storeChanged)
        await marks.withdraw()
      } catch let problem as Problem where problem.isOfStore && (name != nil || hasFollowed) {
        let delay = Self.retryProblemsAfter
        observer.observe(.databaseRefused(failure: problem, retryIn: delay))
        await marks.withdraw()
        pulse.begin()
        await settle()
        try await waitAlive(delay)
      }
      if Stop.current.isRequested { return }
    }
  }

  /// New settings: shards that were added, removed or changed follow; nothing else is touched.
  func takeOver(_ new: Settings) async {
    settings.takeOver(new)
    // With several nodes the agent of leadership hands them on, to whoever leads them.
    if settings.mode == .solo { await shards?.declare(new.projections) }
  }

  /// With several nodes, how many shards all of them share.
  var sharedShards: Int? { settings.mode == .hotcold ? settings.projections.count : nil }

  private func settle() async {
    await onSettled?()
    onSettled = nil
  }

  /// Waits, with signs of life.
  private func waitAlive(_ delay: Duration) async throws {
    let end = ContinuousClock.now + delay
    while ContinuousClock.now < end, !Stop.current.isRequested {
      pulse.beat()
      await rest(for: .seconds(1))
      try Task.checkCancellation()
    }
  }

  private func follow() async throws {
    let options = ConnectionOptions(settings.database)
    let (observer, pulse) = (observer, pulse)
    let shape = try await Startup(settings: settings, options: options, observer: observer, schema: schema) { [self] in
      pulse.beat()
      if name != nil { await settle() }
    }.run()
    let isSolo = settings.mode == .solo
    let locks = LockSessions(
      options: ConnectionOptions(settings.database, url: settings.database.lockURL), node: node, version: version,
      mode: settings.mode.rawValue, exclusivity: isSolo ? (isAlone ? .none : .any) : .shared)
    // Before the node is ready, so that one that may not run here never seems to.
    let firstLocks = try await locks.openFirst(shards: settings.projections.names)
    let workMemory = settings.database.workMemory
    let pool = SessionPool(
      options, limit: settings.database.poolSize, name: "shard",
      prepare: { session in try await ShardSessions.prepare(session, workMemory: workMemory) },
      clean: { session in try await ShardSessions.clean(session, workMemory: workMemory) },
      onNotice: { observer.observe(.serverNotice(severity: $0.severity, message: $0.message)) })
    // Of its own, so that busy shards never keep the books from being written.
    let books = SessionPool(
      options, limit: 1, name: "books", prepare: { try await SessionBounds.work.apply(to: $0) })
    // Of its own too: the books wait for the positions of shards when an event arrives late, and an operator's word must not.
    let requestPool = SessionPool(
      options, limit: 1, name: "requests", prepare: { try await SessionBounds.work.apply(to: $0) })
    let (marks, health, requests, node) = (marks, health, requests, node)
    let rebuilds = RebuildBoard()
    let feed = EventFeed(shape: shape, pool: pool, marks: marks)
    let database = name ?? "main"
    let shards = ShardSet { definition in
      let context = ShardContext(
        definition, shape: shape, policy: { [self] in await settings.failurePolicy }, node: node, observer: observer,
        database: database)
      var rebuilding = context
      rebuilding.policy = { [self] in await settings.rebuildPolicy }
      let follower = ShardAgent(
        context: context, pool: pool, marks: marks, health: health, requests: requests, feed: feed)
      let rebuilder = RebuildRunner(rebuilding, options: options, workMemory: workMemory, requests: requests)
      return ShardServices(services: [
        follower, RebuildAgent(shard: definition.shard, runner: rebuilder, board: rebuilds),
      ])
    }
    self.shards = shards
    if isSolo { await shards.declare(settings.projections) }
    let leadership: any Service =
      isSolo
      ? SoloGuard(
        locks: locks, first: firstLocks, shards: { [self] in await settings.projections.names }, observer: observer)
      : LeadershipAgent(
        locks: locks, first: firstLocks,
        scope: name.map { .database($0, of: allDatabases) } ?? .shards(schema: settings.eventStore.schema),
        isWatched: settings.monitorsLocks, shards: shards, declared: { [self] in await settings.projections },
        marks: marks,
        pulse: pulse, observer: observer)
    let agents: [any Service] = [
      HighWaterAgent(
        shape: shape, options: options, settings: settings.eventStore, board: marks, pulse: pulse, observer: observer),
      LateArrivalAgent(
        shape: shape, settings: settings.eventStore, pool: books,
        takers: { [self] in
          await settings.projections.map { MarkTable.Taker(shard: "\($0.shard)", types: $0.takes) }
        }, node: node, observer: observer),
      RequestAgent(
        board: requests, rebuilds: rebuilds, pool: requestPool, declared: { [self] in await settings.projections }),
      HealthWriter(board: health, pool: books, node: node),
      shards, leadership,
    ]
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for agent in agents { group.addTask { try await agent.run() } }
        await settle()
        hasFollowed = true
        for try await _ in group {}
      }
    } catch {
      await pool.close()
      await books.close()
      await requestPool.close()
      throw error
    }
    await pool.close()
    await books.close()
    await requestPool.close()
  }
}
