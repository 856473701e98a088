import Concurrency
import EventStore
import Postgres
import Projection
import Telemetry

/// Works on the rebuilds that operators ask for of one shard, for as long as this node leads it.
struct RebuildAgent: Service {
  var shard: ShardName
  var runner: RebuildRunner
  var board: RebuildBoard

  func run() async throws {
    while !Task.isCancelled && !Stop.current.isRequested {
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

/// Which shards have a rebuild that a node is to work on, and where their agents wait for one.
package actor RebuildBoard {
  private var shards: Set<ShardName> = []
  private let waiters = Waiters<ShardName, Void>()

  package init() {}

  /// Takes over what the database says.
  func take(_ wishes: [String: ShardWishes.Wish], among declared: [ShardName]) {
    shards = Set(declared.filter { wishes["\($0)"]?.wantsRebuild == true })
    waiters.tell(where: shards.contains)
  }

  /// Returns when a rebuild of the shard is wanted.
  func wanted(_ shard: ShardName) async throws {
    if !shards.contains(shard) { try await waiters.wait(for: shard) }
  }

  /// What was posted of the shard is old: the next look decides.
  func taken(_ shard: ShardName) { shards.remove(shard) }
}

/// All that a node does for a shard it leads: following the store, and rebuilding when asked.
struct LedShard: Service {
  var services: [any Service]

  func run() async throws { try await runTogether(services) }
}
