import Books
import Concurrency
import Postgres
import Rules

/// Writes the states of this node's shards to `tidemark.shard`, where `status` on any host reads them.
///
/// It writes only changes: those that an operator waits for at once, a new rate within two seconds. Every ten seconds it writes the rest
/// again, so that a row that is older shows that nobody keeps it up to date.
struct HealthWriter: Service {
  var board: HealthBoard
  var pool: SessionPool
  var troubles: TroubleBoard
  var node: String

  static let interval = Duration.seconds(2)
  /// How often a row without a change is written.
  static let heartbeat = Duration.seconds(10)
  /// Changes that come together are written together.
  private static let gathering = Duration.milliseconds(100)

  private struct Written {
    var row: ShardTable.Health
    var at: ContinuousClock.Instant
  }

  func run() async throws {
    var written: [String: Written] = [:]
    var rates = Rates()
    repeat {
      await untilDue()
      let now = ContinuousClock.now
      let isEnding = Stop.isDue
      let all = await board.all
      rates.measure(all, at: now)
      // Nothing is applied while nothing is proven, whatever a shard itself last said.
      let unproven = troubles.away.map { "waits for the high-water mark: \($0)" }
      let rows = all.map { shard, entry in
        let waits = entry.state.isWorking ? unproven : nil
        return ShardTable.Health(
          name: "\(shard)", state: isEnding ? .ended : waits == nil ? entry.state : .retrying,
          reason: waits ?? entry.reason, rate: isEnding ? 0 : rates[shard], node: node, obeyed: entry.obeyed)
      }
      let due = rows.filter { row in
        guard let last = written[row.name], last.row == row else { return true }
        return row.condition != ShardState.ended.rawValue && now - last.at >= Self.heartbeat
      }
      guard !due.isEmpty else { continue }
      do {
        try await troubles.doing(.states) { [pool] in
          try await pool.withSession(for: "health") { try await ShardTable().write(due, $0) }
        }
        for row in due { written[row.name] = Written(row: row, at: now) }
      } catch {
        // The rows are written later.
        continue
      }
    } while !Stop.isDue
  }

  /// Returns after the interval, or earlier if there are news.
  private func untilDue() async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await rest(for: Self.interval) }
      group.addTask { [board] in
        if (try? await board.news()) != nil { await rest(for: Self.gathering) }
      }
      await group.next()
      group.cancelAll()
    }
  }

  /// How fast positions move, measured over the interval.
  private struct Rates {
    private var positions: [ShardName: Int64] = [:]
    private var rates: [ShardName: Double] = [:]
    private var last = ContinuousClock.now

    subscript(shard: ShardName) -> Double { rates[shard] ?? 0 }

    mutating func measure(_ entries: [ShardName: HealthBoard.Entry], at now: ContinuousClock.Instant) {
      let seconds: Double = (now - last) / .seconds(1)
      guard now - last >= HealthWriter.interval / 2 else { return }
      last = now
      for (shard, entry) in entries {
        let moved = Double((entry.position ?? 0) - (positions[shard] ?? entry.position ?? 0))
        positions[shard] = entry.position
        rates[shard] = max(0, moved / seconds).rounded()
      }
    }
  }
}
