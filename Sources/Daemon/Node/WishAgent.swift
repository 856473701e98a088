import Books
import Concurrency
import Postgres
import Rules

/// Looks at the operators' wishes in the database, twice a second.
struct WishAgent: Service {
  var board: WishBoard
  var rebuilds: RebuildBoard
  var pool: SessionPool
  var declared: @Sendable () async -> [ProjectionDefinition]

  static let cadence = Duration.milliseconds(500)

  func run() async throws {
    while !Stop.isDue {
      do {
        let wishes = try await pool.withSession(for: "wishes", unlessStopped: true) { try await ShardWishes().all($0) }
        await board.take(wishes.mapValues(\.wish))
        await rebuilds.take(wishes, among: await declared().map(\.shard))
      } catch is CancellationError {
        break
      } catch {
        // A database that is away is reported by the high-water agent; what was wished last holds meanwhile.
      }
      await rest(for: Self.cadence)
    }
  }
}
