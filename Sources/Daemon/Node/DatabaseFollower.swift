import Books
import Concurrency
import EventStore
import Postgres
import Rules
import Settings
import Telemetry

/// Follows one database: runs all its agents, from the first connection to the last page.
///
/// If the settings have several databases, each has a follower, and a follower that fails retries on its own.
actor DatabaseFollower: Service {
  /// The database's name if there are several; nil if there is only one.
  nonisolated let name: String?
  nonisolated let marks = MarkBoard()
  nonisolated let health = HealthBoard()
  nonisolated let requests = RequestBoard()
  nonisolated let pulse = Pulse()
  nonisolated let troubles: TroubleBoard
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

  /// When to retry one of several databases after a problem that an operator must fix, so that the fix needs no restart.
  static let retryProblemsAfter = Duration.seconds(5)

  /// - Parameters:
  ///   - databases: the names of all databases, if there are several.
  ///   - onSettled: called once, when the agents run; with several databases also when this one turns out to be unreachable.
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
    troubles = TroubleBoard(self.observer)
    self.isAlone = isAlone
    self.schema = schema
    self.onSettled = onSettled
  }

  /// - Throws: ``Problem`` if the only database cannot be followed and an operator must act.
  func run() async throws {
    while true {
      do {
        return try await follow()
      } catch is StoreChanged {
        observer.observe(.storeChanged)
        await marks.withdraw()
      } catch let error where (name != nil || hasFollowed) && Self.isOfDatabase(error) {
        let delay = Self.retryProblemsAfter
        observer.observe(.databaseRefused(failure: Problem(of: error), retryIn: delay))
        troubles.isAway(Problem(of: error))
        await marks.withdraw()
        pulse.begin()
        await settle()
        try await waitAlive(delay)
      }
      if Stop.current.isRequested { return }
    }
  }

  /// Whether the database is at fault, which an operator may fix while the daemon runs.
  private static func isOfDatabase(_ error: any Error) -> Bool {
    switch error {
    case let problem as Problem: problem.isOfStore
    case let error as PostgresError: !error.isCancelled
    default: false
    }
  }

  /// Applies new settings: starts, ends or restarts the shards that were added, removed or changed; touches nothing else.
  func takeOver(_ new: Settings) async {
    settings.takeOver(new)
    // With several nodes the leadership agent declares them, on the nodes that lead them.
    if settings.mode == .solo { await shards?.declare(new.projections) }
  }

  /// The number of shards that all nodes share; nil in mode `solo`.
  var sharedShards: Int? { settings.mode == .hotcold ? settings.projections.count : nil }

  /// The number of shards in the settings, whether they run yet or not.
  var declaredShards: Int { settings.projections.count }

  private func settle() async {
    await onSettled?()
    onSettled = nil
  }

  /// Waits, and gives signs of life meanwhile.
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
    let (observer, pulse, troubles) = (observer, pulse, troubles)
    let shape = try await Startup(
      settings: settings, options: options, observer: observer, schema: schema, hasRun: hasFollowed
    ) { [self] failure in
      pulse.beat()
      troubles.isAway(failure)
      if name != nil { await settle() }
    }.run()
    let isSolo = settings.mode == .solo
    let locks = LockSessions(
      options: ConnectionOptions(settings.database, url: settings.database.lockURL), node: node, version: version,
      mode: settings.mode.rawValue, exclusivity: isSolo ? (isAlone ? .none : .any) : .shared)
    // Before the node is ready, so that a node that may not run never reports ready.
    let firstLocks = try await locks.openFirst(shards: settings.projections.names)
    let workMemory = settings.database.workMemory
    let pool = SessionPool(
      options, limit: settings.database.poolSize, name: "shard",
      prepare: { session in try await ShardSessions.prepare(session, workMemory: workMemory) },
      clean: { session in try await ShardSessions.clean(session, workMemory: workMemory) },
      onNotice: {
        // A function may raise one of any length for each event.
        observer.observe(.serverNotice(severity: $0.severity, message: Problem($0.message).shortened.message))
      })
    // A pool of its own, so that busy shards never delay writes to Tidemark's own tables.
    let books = SessionPool(
      options, limit: 1, name: "books", prepare: { try await SessionBounds.applyUnlimited(to: $0) })
    // Another, for requests and states: `books` waits for the positions of shards when an event arrives late, and these must not wait with it.
    let requestPool = SessionPool(
      options, limit: 1, name: "requests", prepare: { try await SessionBounds.applyUnlimited(to: $0) })
    let (marks, health, requests, node) = (marks, health, requests, node)
    let rebuilds = RebuildBoard()
    let feed = EventFeed(shape: shape, pool: pool, marks: marks)
    let (database, isOneOfSeveral) = (name ?? "main", name != nil)
    let onReset = settings.eventStore.onReset
    let shards = ShardSet { definition in
      let context = ShardContext(
        definition, shape: shape, policy: { [self] in await settings.failurePolicy }, node: node, observer: observer,
        database: database)
      var rebuilding = context
      rebuilding.policy = { [self] in await settings.rebuildPolicy }
      let follower = ShardAgent(
        context: context, pool: pool, marks: marks, health: health, requests: requests, feed: feed,
        declared: { [self] in await settings.projections.map(\.shard) }, onReset: onReset)
      let rebuilder = RebuildRunner(
        rebuilding, options: options, workMemory: workMemory, requests: requests, sharesLock: isOneOfSeveral)
      return ShardServices(services: [
        follower, RebuildAgent(shard: definition.shard, runner: rebuilder, board: rebuilds),
      ])
    }
    self.shards = shards
    if isSolo { await shards.declare(settings.projections) }
    let leadership: any Service =
      isSolo
      ? SoloGuard(
        locks: locks, first: firstLocks, shards: { [self] in await settings.projections.names }, troubles: troubles,
        observer: observer)
      : LeadershipAgent(
        locks: locks, first: firstLocks,
        scope: name.map { .database($0, of: allDatabases) } ?? .shards(schema: settings.eventStore.schema),
        isWatched: settings.monitorsLocks, shards: shards, declared: { [self] in await settings.projections },
        marks: marks,
        pulse: pulse, observer: observer)
    let agents: [any Service] = [
      HighWaterAgent(
        shape: shape, schema: schema, options: options, settings: settings.eventStore, board: marks, pulse: pulse,
        troubles: troubles, observer: observer, onEra: { await feed.forget() }),
      LateArrivalAgent(
        shape: shape, settings: settings.eventStore, pool: books, marks: marks,
        takers: { [self] in
          await settings.projections.map {
            MarkTable.Taker(shard: "\($0.shard)", types: $0.takes, archived: $0.archived)
          }
        }, node: node, troubles: troubles, observer: observer),
      RequestAgent(
        board: requests, rebuilds: rebuilds, pool: requestPool, troubles: troubles,
        declared: { [self] in await settings.projections }),
      HealthWriter(board: health, pool: requestPool, troubles: troubles, node: node),
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
