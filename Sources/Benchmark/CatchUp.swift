import Operator
import Postgres

/// Catch-up from the first event to the last, compared with one statement that does the same work at once.
enum CatchUp {
  struct Case: Sendable {
    var name: String
    var table: String
    var setup: String
    var insert: String
    var select: String
    var rest: String

    var projection: String {
      """
      [projections.\(name)]
      events = ["travel"]
      tables = ["\(table)"]
      setup = "\(setup)"
      sql = '''
      \(insert)
      \(select)
        FROM batch
      \(rest)
      '''
      """
    }

    var statement: String { "\(insert) \(select) FROM mt_events WHERE type = 'travel' AND NOT is_archived \(rest)" }
    var shard: String { "\(name):All" }

    /// The pages that the daemon applies during a long catch-up, in a loop inside the server: the limit if the daemon
    /// itself cost nothing.
    func loop(events: Int, width: Int) -> String {
      """
      DO $$
      DECLARE f bigint := 0; c bigint;
      BEGIN
        INSERT INTO mt_event_progression VALUES ('\(shard)', 0);
        PERFORM set_config('search_path', 'public, tidemark', false), set_config('work_mem', '32MB', false);
        WHILE f < \(events) LOOP
          c := least(f + \(width), \(events));
          PERFORM tidemark_internal.begin_page('\(shard)', f, c, '{travel}', false);
          \(insert) \(select) FROM batch \(rest);
          COMMIT;
          f := c;
        END LOOP;
      END $$
      """
    }
  }

  /// The daemon's default for its own sessions: a statement that spills to disk would not be comparable.
  static let sameMemory = "SET work_mem = '32MB'"

  static let trip = Case(
    name: "Trip", table: "trip",
    setup: "CREATE TABLE trip (id uuid PRIMARY KEY, legs bigint NOT NULL, traveled numeric NOT NULL)",
    insert: "INSERT INTO trip AS t (id, legs, traveled)",
    select: "SELECT stream_id, count(*), sum((data->>'Traveled')::numeric)",
    rest:
      "GROUP BY 1 ON CONFLICT (id) DO UPDATE SET legs = t.legs + excluded.legs, traveled = t.traveled + excluded.traveled"
  )
  static let day = Case(
    name: "Day", table: "day",
    setup: "CREATE TABLE day (day date PRIMARY KEY, legs bigint NOT NULL, traveled numeric NOT NULL)",
    insert: "INSERT INTO day AS d (day, legs, traveled)",
    select: "SELECT (data->>'Day')::date, count(*), sum((data->>'Traveled')::numeric)",
    rest:
      "GROUP BY 1 ON CONFLICT (day) DO UPDATE SET legs = d.legs + excluded.legs, traveled = d.traveled + excluded.traveled"
  )

  static func measure(_ bench: Bench) async throws -> [Figure] {
    let usual = try await measure(bench, .lifetimes, [trip, day])
    return bench.isQuick ? usual : try await usual + measure(bench, .random, [trip])
  }

  private static func measure(_ bench: Bench, _ spread: Database.Spread, _ works: [Case]) async throws -> [Figure] {
    let count = bench.isQuick ? 200_000 : 1_000_000
    let database = try await bench.database()
    try await database.install(trip.projection + "\n" + day.projection)
    try await database.load(events: count, spread)
    var figures: [Figure] = []
    for work in works {
      var (plain, statement, pages, daemon): ([Double], [Double], [Double], [Double]) = ([], [], [], [])
      for _ in 0..<bench.runs {
        try await database.reset(work.table, work.shard)
        _ = try await database.session.script("RESET work_mem")
        plain.append(try await seconds { _ = try await database.session.script(work.statement) })
        try await database.reset(work.table, work.shard)
        _ = try await database.session.script(sameMemory)
        statement.append(try await seconds { _ = try await database.session.script(work.statement) })
        try await database.reset(work.table, work.shard)
        pages.append(
          try await seconds { _ = try await database.session.script(work.loop(events: count, width: 64_000)) })
        try await database.reset(work.table, work.shard)
        daemon.append(
          try await bench.withDaemon(database, work.projection) { _ in
            try await database.reached(0, work.shard)
            return try await seconds { try await database.reached(count, work.shard) }
          })
        let legs = try await database.session.execute(SQL(text: "SELECT sum(legs)::bigint FROM \(work.table)"))
        guard try legs.rows[0].get(0, as: Int.self) == count else { throw Trouble("\(work.name) is wrong") }
      }
      let rate = { (times: [Double]) in times.map { Double(count) / $0 } }
      let name = spread == .random ? "\(work.name), streams at random" : work.name
      figures.append(
        Figure("catch-up \(name): one statement, with the server's work_mem", "events/s", rate(plain), .higher))
      figures.append(
        Figure("catch-up \(name): one statement, with the daemon's work_mem", "events/s", rate(statement), .higher))
      figures.append(
        Figure("catch-up \(name): pages of 64,000 in a loop in the server", "events/s", rate(pages), .higher))
      figures.append(Figure("catch-up \(name): tidemark, from its first look", "events/s", rate(daemon), .higher))
      figures.append(
        Figure(
          "catch-up \(name): tidemark to statement, with the server's work_mem", "ratio",
          zip(plain, daemon).map { $0 / $1 }, .higher))
      figures.append(
        Figure(
          "catch-up \(name): tidemark to statement, with the daemon's work_mem", "ratio",
          zip(statement, daemon).map { $0 / $1 }, .higher,
          target: spread == .random ? nil : 0.8))
    }
    await database.session.close()
    return figures
  }
}
