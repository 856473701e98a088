import Concurrency
import Postgres
import Rules
import Telemetry

/// Works on the rebuilds that operators ask for of one shard, for as long as this node leads it.
struct RebuildAgent: Service {
  var shard: ShardName
  var runner: RebuildRunner
  var board: RebuildBoard

  func run() async throws {
    while !Stop.isDue {
      do {
        try await stoppable {
          try await board.wanted(shard)
          try await runner.run()
        }
      } catch let error as CancellationError {
        if !Stop.current.isRequested { throw error }
      } catch {
        // The row says why, and the log has said it. Whoever asked has to ask again.
        await rest(for: .seconds(1))
      }
      await board.taken(shard)
    }
  }
}
