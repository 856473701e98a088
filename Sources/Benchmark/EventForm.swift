import Postgres

/// The event form, compared with the same statement in a loop inside the server.
enum EventForm {
  private static let upsert = (
    head: "INSERT INTO one AS o (id, legs, traveled)",
    rest: "ON CONFLICT (id) DO UPDATE SET legs = o.legs + 1, traveled = o.traveled + excluded.traveled"
  )
  private static let projection = """
    [projections.One]
    tables = ["one"]
    setup = "CREATE TABLE one (id uuid PRIMARY KEY, legs bigint NOT NULL, traveled numeric NOT NULL)"
    on.travel = "\(upsert.head) VALUES (:stream_id, 1, (:data->>'Traveled')::numeric) \(upsert.rest)"
    """
  private static let loop = """
    DO $$
    DECLARE e record;
    BEGIN
      FOR e IN SELECT seq_id, stream_id, version, type, data FROM mt_events WHERE type = 'travel' ORDER BY seq_id LOOP
        \(upsert.head) VALUES (e.stream_id, 1, (e.data->>'Traveled')::numeric) \(upsert.rest);
      END LOOP;
    END $$
    """

  static func measure(_ bench: Bench) async throws -> [Figure] {
    let count = bench.isQuick ? 30_000 : 300_000
    let database = try await bench.database()
    try await database.install(projection)
    try await database.load(events: count)
    var (server, daemon): ([Double], [Double]) = ([], [])
    for _ in 0..<bench.runs {
      try await database.reset("one", "One:All")
      server.append(try await seconds { _ = try await database.session.script(loop) })
      try await database.reset("one", "One:All")
      daemon.append(
        try await bench.withDaemon(database, projection) { _ in
          try await database.reached(0, "One:All")
          return try await seconds { try await database.reached(count, "One:All") }
        })
    }
    await database.session.close()
    let rate = { (times: [Double]) in times.map { Double(count) / $0 } }
    return [
      Figure("event form: PL/pgSQL loop in the server", "events/s", rate(server), .higher),
      Figure("event form: tidemark, from its first look", "events/s", rate(daemon), .higher),
      Figure("event form: tidemark to loop", "ratio", zip(server, daemon).map { $0 / $1 }, .higher, target: 0.8),
    ]
  }
}
