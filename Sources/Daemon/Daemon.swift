import EventStore
package import Postgres
import Projection
import ServiceLifecycle
package import Settings
package import Telemetry

/// The whole of a running node: waits for the database, then follows it until it is told to stop.
package struct Daemon: Service {
  package let settings: Settings
  package let version: String
  package let node: String
  package let observer: any Observer
  package let marks = MarkBoard()
  package let health = HealthBoard()

  package init(settings: Settings, version: String, node: String = nodeName(), observer: any Observer) {
    self.settings = settings
    self.version = version
    self.node = node
    self.observer = observer
  }

  /// Runs until the graceful shutdown of the service group, or until the task is cancelled.
  ///
  /// - Throws: ``StoreProblem`` where the store cannot be followed and only a person can help.
  package func run() async throws {
    let options = ConnectionOptions(settings.database)
    observer.observe(.started(version: version, mode: "solo", shards: settings.projections.count))
    let shape: StoreShape
    do {
      shape = try await Startup(settings: settings, options: options, observer: observer).run()
    } catch is CancellationError {
      observer.observe(.stopped)
      return
    }
    let observer = observer
    let pool = SessionPool(
      options, limit: settings.database.poolSize, name: "shard",
      prepare: { session in try await Daemon.prepareForShards(session) },
      onNotice: { observer.observe(.serverNotice(severity: $0.severity, message: $0.message)) })
    let agents: [any Service] =
      [
        HighWaterAgent(
          options: options, shape: shape, settings: settings.eventStore, board: marks,
          takers: settings.projections.map { MarkTable.Taker(shard: "\($0.shard)", types: $0.takes) }, node: node,
          observer: observer),
        HealthWriter(board: health, pool: pool, node: node),
      ]
      + settings.projections.map {
        ShardAgent(
          definition: $0, shape: shape, pool: pool, marks: marks, health: health, observer: observer)
      }
    try await withGracefulShutdownHandler {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for agent in agents { group.addTask { try await agent.run() } }
        try await group.waitForAll()
      }
    } onGracefulShutdown: {
      observer.observe(.stopping)
    }
    await pool.close()
    observer.observe(.stopped)
  }

  /// `batch` is found without its schema, and behind everything of the operator's own, so that no table of theirs is hidden.
  package static func prepareForShards(_ session: Session) async throws {
    try await session.execute(
      "SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'tidemark'), false)"
    )
  }
}
