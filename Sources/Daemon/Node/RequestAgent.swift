import Books
import Concurrency
import Postgres
import Rules

/// Reads the operators' requests from the database, twice a second.
struct RequestAgent: Service {
  var board: RequestBoard
  var rebuilds: RebuildBoard
  var pool: SessionPool
  var troubles: TroubleBoard
  var declared: @Sendable () async -> [ProjectionDefinition]

  static let cadence = Duration.milliseconds(500)

  func run() async throws {
    while !Stop.isDue {
      do {
        // A stop does not wait for a session that has locked the table.
        let requests = try await troubles.doing(.requests) { [pool] in
          try await stoppable {
            try await pool.withSession(for: "requests", unlessStopped: true) { try await ShardRequests().all($0) }
          }
        }
        await board.take(requests.mapValues(\.request))
        await rebuilds.take(requests, among: await declared().map(\.shard))
      } catch is CancellationError {
        break
      } catch {
        // The last requests stay in effect.
      }
      await rest(for: Self.cadence)
    }
  }
}
