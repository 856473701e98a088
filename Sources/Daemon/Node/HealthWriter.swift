import Books
import Concurrency
import Postgres
import Rules

/// Writes the states of this node's shards to `tidemark.shard`, where `status` on any host reads them.
///
/// It writes only changes, within two seconds.
struct HealthWriter: Service {
  var board: HealthBoard
  var pool: SessionPool
  var troubles: TroubleBoard
  var node: String

  static let interval = Duration.seconds(2)

  func run() async throws {
    var written: [String: ShardTable.Health] = [:]
    var positions: [ShardName: Int64] = [:]
    var last = ContinuousClock.now
    repeat {
      await rest(for: Self.interval)
      let now = ContinuousClock.now
      let seconds = (now - last) / .seconds(1)
      last = now
      let isEnding = Stop.isDue
      let rows = await board.all.map { shard, entry in
        let moved = Double((entry.position ?? 0) - (positions[shard] ?? entry.position ?? 0))
        positions[shard] = entry.position
        return ShardTable.Health(
          name: "\(shard)", state: isEnding ? .ended : entry.state, reason: entry.reason,
          rate: isEnding ? 0 : (max(0, moved / seconds)).rounded(), node: node)
      }
      let changed = rows.filter { written[$0.name] != $0 }
      guard !changed.isEmpty else { continue }
      do {
        try await troubles.doing(.states) { [pool] in
          try await pool.withSession(for: "health") { try await ShardTable().write(changed, $0) }
        }
        for row in changed { written[row.name] = row }
      } catch {
        // The rows are written later.
        continue
      }
    } while !Stop.isDue
  }
}
