import Daemon
import Foundation
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
import Testing

@Suite(.gated) struct `What the server says` {
  /// Raised by the real server, not typed in.
  @Test(arguments: [
    ("SELECT 1/0", FailureClass.event), ("SELECT 'x'::int", .event), ("SELECT '{'::jsonb", .event),
    ("INSERT INTO t VALUES (1), (1)", .event), ("INSERT INTO t VALUES (NULL)", .event),
    ("INSERT INTO t VALUES (-1)", .event),
    ("INSERT INTO u VALUES (99)", .event), ("SELECT (SELECT n FROM generate_series(1, 2) AS n)", .event),
    ("DO $$ BEGIN RAISE 'no'; END $$", .event), ("DO $$ BEGIN ASSERT false; END $$", .event),
    ("SELECT repeat('x', 2000000000) || repeat('x', 2000000000)", .event),
    ("SELECT * FROM missing", .definition), ("SELECT missing FROM t", .definition), ("SELEC 1", .definition),
    ("SELECT missing(1)", .definition), ("SET LOCAL ROLE nobody_at_all; SELECT * FROM t", .event),
    ("SET LOCAL ROLE pg_monitor; SELECT * FROM t", .definition),
    ("INSERT INTO u VALUES (1) ON CONFLICT (n) DO NOTHING", .definition),
    ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(5)", .transient),
    ("DO $$ BEGIN RAISE 'again' USING ERRCODE = 'serialization_failure'; END $$", .transient),
    ("DO $$ BEGIN RAISE 'again' USING ERRCODE = 'deadlock_detected'; END $$", .transient),
    ("DO $$ BEGIN RAISE 'full' USING ERRCODE = 'disk_full'; END $$", .transient),
    ("EXECUTE never_prepared", .transient),
    ("SELECT tidemark_internal.begin_page('None:All', 0, 1, NULL, false)", .order),
    ("SELECT pg_terminate_backend(pg_backend_pid())", .connection),
  ])
  func `falls into the class of what should be done`(sql: String, expected: FailureClass) async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install("")
    try await database.script("CREATE TABLE t (n int PRIMARY KEY CHECK (n > 0)); CREATE TABLE u (n int REFERENCES t)")
    try await database.connected { session async throws in
      let error = await #expect(throws: PostgresError.self) { _ = try await session.script("BEGIN; \(sql)") }
      let found = error.map { PageFailure($0).failureClass }
      #expect(found == expected, "\(sql): \(error.map { "\($0)" } ?? "nothing")")
    }
  }

  /// A violated constraint repeats the whole row, and the row repeats the event: that is for the letter, not for the log.
  @Test func `of a row is kept in the letter and left out of the log`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [projections.Secret]
      tables = ["secret"]
      setup = "CREATE TABLE secret (body text, n int NOT NULL)"
      sql = "INSERT INTO secret SELECT data->>'body', (data->>'n')::int FROM batch"
      """)
    try await database.append(type: "x", count: 1, data: #"{"body": "nobody's business"}"#)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let detail = try await database.value("SELECT detail FROM tidemark.dead_letter", as: String.self)
      #expect(detail.contains("nobody's business"))
      _ = try await daemon.observed.first("the letter is told") { $0.when(.deadLetter) }
      let told = daemon.observed.all.filter { $0.fact == .deadLetter }
      #expect(told.count == 1 && !"\(told)".contains("business"))
    }
  }
}
