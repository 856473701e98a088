import Books
import Foundation
import Operator
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
import Testing

@Suite(.gated) struct `A database with settings of its own` {
  /// Everything that a database may say to bend a session, at once.
  private static let hostile = [
    "standard_conforming_strings = off", "array_nulls = off", "exit_on_error = on", "quote_all_identifiers = on",
    "restrict_nonsystem_relation_kind = 'view, foreign-table'", "default_transaction_isolation = 'serializable'",
    "default_transaction_deferrable = on", "row_security = on", "DateStyle = 'German'",
    "IntervalStyle = 'sql_standard'",
    "TimeZone = 'Asia/Kathmandu'", "bytea_output = 'escape'", "extra_float_digits = -10", "xmlbinary = 'hex'",
    "transform_null_equals = on", "idle_session_timeout = '100ms'",
    "client_min_messages = debug1", "plan_cache_mode = 'force_generic_plan'", "enable_seqscan = off",
    "enable_indexscan = off", "force_parallel_mode = on", "backslash_quote = off", "escape_string_warning = off",
    "gin_fuzzy_search_limit = 1", "check_function_bodies = off", "temp_buffers = '800kB'", "track_activities = off",
    "client_connection_check_interval = 0", "session_replication_role = 'replica'", "synchronous_commit = off",
  ]

  private static let projections = #"""
    [projections.Legs]
    events = ["n"]
    tables = ["legs"]
    key = "id"
    setup = "CREATE TABLE legs (id uuid PRIMARY KEY, legs bigint NOT NULL CHECK (legs >= 0), said text)"
    sql = """
    INSERT INTO legs AS l (id, legs, said)
    SELECT stream_id, sum((data->>'n')::bigint), max(data->>'said') FROM batch GROUP BY stream_id
    ON CONFLICT (id) DO UPDATE SET legs = l.legs + excluded.legs, said = excluded.said
    """
    """#

  private func changed(_ database: TestDatabase) async throws {
    for setting in Self.hostile {
      let name = String(setting.prefix { $0 != " " }).lowercased()
      let isKnown: Bool = try await database.value(
        "SELECT EXISTS (SELECT FROM pg_settings WHERE lower(name) = \(name))")
      guard isKnown else { continue }
      try await database.script("ALTER DATABASE \(database.name) SET \(setting)")
    }
  }

  @Test func `is installed, followed and rebuilt as any other, and a bad event is a dead letter`() async throws {
    let database = try await TestDatabase.make()
    try await changed(database)
    let settings = try await database.install(Self.projections)
    try await database.append(type: "n", count: 200, data: #"{"n": 2, "said": "a\\b'c"}"#)
    try await database.append(type: "n", count: 1, data: #"{"n": "bad"}"#)
    try await database.append(type: "n", count: 100, data: #"{"n": 3}"#)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(try await daemon.observed.first("the letter") { $0.when(.deadLetter)?[.sequence] } == 201)
    }
    let sum: SQL = "SELECT sum(legs)::bigint FROM legs"
    #expect(try await database.value(sum, as: Int.self) == 700)
    #expect(try await database.value(#"SELECT count(*) FROM legs WHERE said = $q$a\b'c$q$"#, as: Int.self) > 0)
    try await database.script("UPDATE legs SET legs = 0 WHERE legs % 2 = 0")
    let config = try Program.settings(
      database.conninfo, Self.projections, head: "[rebuild_errors]\nskip_serialization_errors = true\n")
    for way in ["swap", "copy"] {
      let outcome = try await Program.run([
        "rebuild", "Legs", "--here", "--yes", "--fewer-rows", "--by", way, "-c", config,
      ])
      #expect(outcome.code == 0, "\(way): \(outcome.error)")
      #expect(try await database.value(sum, as: Int.self) == 700, "\(way)")
    }
  }

  @Test func `hears from check what its limits do`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(Self.projections)
    let before = try await database.connected { try await ServerSettingsReport.lines($0) }
    #expect(!before.contains { $0.contains(" of the database: ") }, "\(before)")
    try await database.script("ALTER DATABASE \(database.name) SET statement_timeout = '7s'")
    let lines = try await database.connected { try await ServerSettingsReport.lines($0) }
    let line = try #require(lines.first { $0.contains("statement_timeout") })
    #expect(line.hasPrefix("statement_timeout = 7000ms of the database: ends a statement"), "\(line)")
  }

  /// PostgreSQL puts what has no place of its own into the role's default.
  @Test func `keeps the place of a table that a rebuild makes new`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.projections)
    try await database.append(type: "n", count: 3, data: #"{"n": 2}"#)
    try await database.connected { session in
      try await session.script("SET allow_in_place_tablespaces = on")
      try await session.script("CREATE TABLESPACE other_\(database.name) LOCATION ''")
    }
    try await database.script("ALTER DATABASE \(database.name) SET default_tablespace = 'other_\(database.name)'")
    try await withDaemon(settings) { try await $0.caughtUp() }
    var request = RebuildTable.Request()
    request.way = .swap
    request.allowsFewer = true
    #expect(try await database.rebuild(settings, "Legs", request).state == .done)
    let elsewhere: Int = try await database.value(
      "SELECT count(*) FROM pg_class WHERE reltablespace <> 0 AND relnamespace = 'public'::regnamespace")
    #expect(elsewhere == 0)
  }

  @Test func `finds in the manual each setting that is ours, and what each of the others does`() throws {
    let page = try String(
      contentsOf: Program.package.appending(path: "packaging/man/tidemark.7"), encoding: .utf8)
    let section = page.split(separator: ".Sh SETTINGS OF THE SERVER\n")[1].split(separator: "\n.Sh ")[0]
      .replacing("\n", with: " ")
    for (name, _) in ServerSettings.pinned where !name.hasPrefix("tcp_") {
      #expect(section.contains(".Ic \(name) "), "\(name)")
    }
    for name in ServerSettings.namesLeft {
      guard case .left(let words)? = ServerSettings.treatment(of: name) else { continue }
      #expect(section.lowercased().contains(".it ic \(name) \(words.lowercased())."), "\(name)")
    }
  }
}
