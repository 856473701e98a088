import Concurrency
import Postgres
import Rules
import Telemetry

/// Runs the rebuilds that operators request for one shard, as long as this node leads it.
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
        // The row and the log have the error. The operator must request the rebuild again.
        await rest(for: .seconds(1))
      }
      await board.taken(shard)
    }
  }
}
