import Books
import Operator
import Postgres

/// Measures the parts of a page, each with its own round trip, to show what to optimize next.
enum Anatomy {
  static func measure(_ bench: Bench) async throws -> [Figure] {
    let count = bench.isQuick ? 100_000 : 500_000
    let database = try await bench.database()
    try await database.install(CatchUp.trip.projection)
    try await database.load(events: count)
    let session = database.session
    _ = try await session.script("SET search_path = public, tidemark")
    _ = try await session.script("INSERT INTO mt_event_progression VALUES ('Trip:All', 0)")
    var figures: [Figure] = []
    for width in [1_000, 10_000, 50_000] {
      _ = try await session.script(
        "TRUNCATE trip; UPDATE mt_event_progression SET last_seq_id = 0; UPDATE tidemark.position SET last_seq_id = 0")
      let statement = "\(CatchUp.trip.insert) \(CatchUp.trip.select) FROM batch \(CatchUp.trip.rest) -- \(width)"
      var parts: [[Double]] = [[], [], [], []]
      for floor in stride(from: 0, to: count, by: width) {
        let ceiling = min(count, floor + width)
        parts[0].append(
          try await seconds {
            _ = try await session.execute("BEGIN")
            _ = try await session.prepared(
              PageTarget.live(shard: "Trip:All").begin(
                floor: Int64(floor), ceiling: Int64(ceiling), types: ["travel"])[0])
          })
        parts[1].append(try await seconds { _ = try await session.prepared(SQL(text: statement)) })
        parts[2].append(try await seconds { _ = try await session.execute("COMMIT") })
        parts[3].append(try await seconds { _ = try await session.prepared("SELECT 1") })
      }
      for (part, name) in zip(parts, ["position", "statement", "commit", "client, one round trip"]) {
        figures.append(Figure("page of \(width): \(name)", "ms", [part.percentile(50) * 1000], .lower))
      }
    }
    await session.close()
    return figures
  }
}
