import Foundation
import Glibc
import Postgres
import Processes
import Sandbox

/// Measures how many events each hand-written way to follow an event table loses under concurrent writers.
enum Against {
  /// Tables with the sequences that each way has seen.
  private static let setup = """
    CREATE TABLE poll_psql (seq bigint); CREATE TABLE poll_server (seq bigint); CREATE TABLE poll_statement (seq bigint);
    CREATE TABLE poll_position (who text PRIMARY KEY, last bigint);
    INSERT INTO poll_position VALUES ('psql', 0), ('server', 0), ('statement', 0);
    """
  private static let projection = """
    [projections.Copy]
    tables = ["copy"]
    setup = "CREATE TABLE copy (seq bigint)"
    sql = "INSERT INTO copy SELECT seq_id FROM batch"
    """
  /// `id > last`, as people usually write it.
  private static func poll(_ who: String) -> String {
    """
    WITH page AS MATERIALIZED (
        SELECT seq_id FROM mt_events WHERE seq_id > (SELECT last FROM poll_position WHERE who = '\(who)')),
    moved AS (
        UPDATE poll_position SET last = (SELECT max(seq_id) FROM page) WHERE who = '\(who)' AND EXISTS (SELECT FROM page))
    INSERT INTO poll_\(who) SELECT seq_id FROM page
    """
  }

  static func measure(_ bench: Bench) async throws -> [Figure] {
    let database = try await bench.database()
    try await database.install(projection)
    _ = try await database.session.script(setup)
    let options = database.options
    let file = "\(bench.cluster.directory)/poll.sql"
    try "\(poll("psql")) \\watch 0.02\n".write(toFile: file, atomically: true, encoding: .utf8)
    let committed = try await bench.withDaemon(database, projection) { _ in
      try await withThrowingTaskGroup(of: Int.self) { group in
        group.addTask { try await byPsql(database, file) }
        group.addTask { try await byLoop(options, every: .milliseconds(20)) }
        group.addTask { try await byStatement(options, every: .milliseconds(500)) }
        let committed = try await write(options, for: bench.isQuick ? .seconds(4) : .seconds(30))
        // Give each way time to see the last event.
        try await database.reached(try await Self.last(database), "Copy:All")
        try await Task.sleep(for: .seconds(1))
        group.cancelAll()
        while await group.nextResult() != nil {}
        return committed
      }
    }
    var figures = [Figure("events committed by 4 writers", "events", [Double(committed)], .higher)]
    for (table, name) in [
      ("poll_psql", "psql, id > last, every 20 ms"), ("poll_server", "loop in the server, every 20 ms"),
      ("poll_statement", "one statement, every 500 ms"), ("copy", "tidemark"),
    ] {
      let lost = try await database.session.execute(
        SQL(text: "SELECT count(*) FROM (SELECT seq_id FROM mt_events EXCEPT SELECT seq FROM \(table)) AS lost")
      ).rows[0].get(0, as: Int.self)
      let target: Double? = table == "copy" ? 0 : nil
      figures.append(Figure("lost by \(name)", "events", [Double(lost)], .lower, target: target))
    }
    await database.session.close()
    return figures
  }

  private static func last(_ database: Database) async throws -> Int {
    try await database.session.execute("SELECT max(seq_id) FROM mt_events").rows[0].get(0, as: Int.self)
  }

  private static func write(_ options: ConnectionOptions, for duration: Duration) async throws -> Int {
    try await withThrowingTaskGroup(of: Int.self) { writers in
      for seed in 1...4 { writers.addTask { try await SampleWriter(seed: UInt64(seed)).run(options) } }
      try await Task.sleep(for: duration)
      writers.cancelAll()
      return try await writers.reduce(0, +)
    }
  }

  private static func byPsql(_ database: Database, _ file: String) async throws -> Int {
    _ = try await Launch("psql", ["-X", "-q", "-f", file, database.conninfo], output: .nothing, error: .nothing).run()
    return 0
  }

  private static func byLoop(_ options: ConnectionOptions, every pause: Duration) async throws -> Int {
    let session = try await Session.connect(options, threadName: "loop")
    // A DO block, since a function cannot commit between two rounds.
    _ = try? await session.script(
      "DO $$ BEGIN LOOP \(poll("server")); COMMIT; PERFORM pg_sleep(\(pause / .seconds(1))); END LOOP; END $$")
    await session.close()
    return 0
  }

  private static func byStatement(_ options: ConnectionOptions, every pause: Duration) async throws -> Int {
    let session = try await Session.connect(options, threadName: "statement")
    while !Task.isCancelled {
      _ = try? await session.script(poll("statement"))
      try? await Task.sleep(for: pause)
    }
    await session.close()
    return 0
  }
}
