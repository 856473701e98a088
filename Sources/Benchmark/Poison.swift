import Operator
import Books
import Daemon
import EventStore
import Foundation
import Postgres
import Settings

/// A store in which one event in a hundred, at random places, is poison: measures the rate, and checks the result.
enum Poison {
  private static func projection(_ cast: String) -> String {
    """
    [projections.Sum]
    events = ["travel"]
    tables = ["sum"]
    setup = "CREATE TABLE sum (id uuid PRIMARY KEY, legs bigint NOT NULL, traveled numeric NOT NULL)"
    sql = '''
    INSERT INTO sum AS s (id, legs, traveled)
    SELECT stream_id, count(*), sum(\(cast)) FROM batch GROUP BY 1
    ON CONFLICT (id) DO UPDATE SET legs = s.legs + excluded.legs, traveled = s.traveled + excluded.traveled
    '''
    """
  }

  private static let strict = projection("(data->>'Traveled')::numeric")
  private static let fixed = projection("coalesce(nullif(data->>'Traveled', 'poison'), '0')::numeric")

  static func measure(_ bench: Bench) async throws -> [Figure] {
    let count = bench.isQuick ? 20_000 : 200_000
    let database = try await bench.database()
    try await database.install(strict)
    try await database.load(events: count)
    let session = database.session
    var (clean, poisoned): ([Double], [Double]) = ([], [])
    for _ in 0..<bench.runs { clean.append(try await catchUp(bench, database, count)) }
    _ = try await session.script(
      """
      UPDATE mt_events SET data = data || '{"Traveled": "poison"}' WHERE (hashint8(seq_id * 7919) & 2147483647) % 100 = 0
      """, timeout: .seconds(300))
    _ = try await session.script("VACUUM FULL ANALYZE mt_events", timeout: .seconds(300))
    let poison = try await value("SELECT count(*) FROM mt_events WHERE data->>'Traveled' = 'poison'", session)
    for _ in 0..<bench.runs {
      poisoned.append(try await catchUp(bench, database, count))
      let letters = try await value("SELECT count(*) FROM tidemark.dead_letter", session)
      let applied = try await value("SELECT sum(legs)::bigint FROM sum", session)
      guard letters == poison, applied == count - poison else {
        throw Trouble("\(letters) letters for \(poison) poison events, \(applied) applied of \(count)")
      }
    }
    let replayed = try await seconds { try await replay(bench, database) }
    let wrong = try await value(
      """
      WITH recount (id, legs, traveled) AS (
          SELECT stream_id, count(*), sum(coalesce(nullif(data->>'Traveled', 'poison'), '0')::numeric) FROM mt_events GROUP BY 1),
      model AS (SELECT id, legs, traveled FROM sum)
      SELECT (SELECT count(*) FROM (TABLE model EXCEPT TABLE recount) AS d) + (SELECT count(*) FROM (TABLE recount EXCEPT TABLE model) AS d)
      """, session)
    guard wrong == 0 else { throw Trouble("\(wrong) rows differ from a recount after the replay") }
    await session.close()
    let rate = { (times: [Double]) in times.map { Double(count) / $0 } }
    return [
      Figure("clean events", "events/s", rate(clean), .higher),
      Figure("1 % of them poison, each a dead letter", "events/s", rate(poisoned), .higher),
      Figure(
        "poison to clean", "ratio", zip(clean, poisoned).map { $0 / $1 }, .higher, target: 0.1),
      Figure("dead letters replayed after a fix", "events/s", [Double(poison) / replayed], .higher),
    ]
  }

  private static func catchUp(_ bench: Bench, _ database: Database, _ count: Int) async throws -> Double {
    _ = try await database.session.script("DELETE FROM tidemark.dead_letter; DELETE FROM tidemark.shard")
    try await database.reset("sum", "Sum:All")
    return try await bench.withDaemon(database, strict) { _ in
      try await database.reached(0, "Sum:All")
      return try await seconds { try await database.reached(count, "Sum:All") }
    }
  }

  private static func replay(_ bench: Bench, _ database: Database) async throws {
    let shape = try await StoreShape.read(database.session, schema: "public")
    let settings = try Settings.parse(
      database.settingsText(fixed), file: "benchmark", files: SettingsFiles(read: { .failure(.init("no file \($0)")) })
    )
    let session = try await Session.connect(database.options, threadName: "replay")
    try await ShardSessions.prepare(session)
    let replay = Replay(shape: shape, node: "benchmark")
    for row in try await DeadLetters(shape).list(DeadLetters.Filter(), limit: .max, session) {
      guard try await replay.replay(row.sequence, settings.projections[0], session) == .applied else {
        throw Trouble("event \(row.sequence) was not replayed")
      }
    }
    await session.close()
  }

  private static func value(_ sql: String, _ session: Session) async throws -> Int {
    try await session.execute(SQL(text: sql)).rows[0].get(0, as: Int.self)
  }
}
