import Books
import Daemon
import Foundation
import Operator
import Postgres
import Rules
import TestSupport
import Testing

/// Databases as people have them: older encodings, and identifiers of any length.
@Suite(.gated) struct `A database of another kind` {
  private static let trip = """
    [projections.Trip]
    tables = ["trip"]
    setup = "CREATE TABLE trip (id text, mark text PRIMARY KEY, n integer NOT NULL)"
    sql = '''
    INSERT INTO trip AS t SELECT stream_id::text, md5(stream_id::text), sum((data->>'n')::integer) FROM batch GROUP BY stream_id
    ON CONFLICT (mark) DO UPDATE SET n = t.n + excluded.n
    '''
    """

  @Test func `with the encoding LATIN1 is followed, with letters and a rebuild`() async throws {
    let database = try await TestDatabase.make(encoding: "LATIN1")
    let settings = try await database.install(Self.trip)
    try await database.append(data: [#"{"n": 1}"#, #"{"n": 3}"#])
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    let row = try await database.rebuild(settings, "Trip")
    #expect(row.state == .done, "\(row)")
    try await database.append(data: [#"{"n": "caf\u00e9, not a number"}"#])
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    #expect(try await database.value("SELECT sum(n) FROM trip", as: Int.self) == 4)
    #expect(try await database.value("SELECT message FROM tidemark.dead_letter", as: String.self).contains("caf\u{e9}"))
  }

  @Test func `of which nothing that Tidemark creates needs more than ASCII`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(Self.trip)
    let other = try await database.value(
      """
      SELECT string_agg(what, ', ') FROM (
          SELECT proname FROM pg_proc WHERE pronamespace::regnamespace::text LIKE 'tidemark%' AND prosrc ~ '[^[:ascii:]]'
           UNION ALL SELECT description FROM pg_description WHERE description ~ '[^[:ascii:]]') AS w (what)
      """, as: String?.self)
    #expect(other == nil)
  }

  @Test func `with identifiers of streams that no index takes keeps letters for them`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.trip, streamIDType: "varchar")
    let long = try await database.value(
      "SELECT string_agg(md5(g::text), '') FROM generate_series(1, 80) AS g", as: String.self)
    for (version, data) in [#"{"n": 1}"#, #"{"n": "x"}"#, #"{"n": 3}"#].enumerated() {
      try await database.script(
        """
        INSERT INTO mt_streams (id) VALUES ('\(long)') ON CONFLICT DO NOTHING;
        INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
        SELECT nextval('mt_events_sequence'), gen_random_uuid(), '\(long)', \(version), '\(data)', 'x'
        """)
    }
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    #expect(try await database.value("SELECT sum(n) FROM trip", as: Int.self) == 4)
    #expect(try await database.value("SELECT length(stream_id) FROM tidemark.dead_letter", as: Int.self) == long.count)
  }

  /// Tables of other programs, and of old ones: what a page sees has the same types.
  @Test func `may have numbers that are integer, and data that is json`() async throws {
    let database = try await TestDatabase.make()
    let toml = """
      [projections.Legs]
      tables = ["legs"]
      setup = "CREATE TABLE legs (seq bigint PRIMARY KEY, n bigint NOT NULL)"
      sql = '''INSERT INTO legs SELECT seq_id, (data->>'n')::bigint FROM batch WHERE data @> '{"n": 2}'::jsonb'''
      """
    _ = try await database.install(toml)
    try await database.script(
      """
      DROP VIEW tidemark.batch CASCADE;
      ALTER TABLE mt_events ALTER COLUMN seq_id TYPE integer, ALTER COLUMN version TYPE integer, ALTER COLUMN data TYPE json
      """)
    let settings = try await database.install(toml)
    try await database.append(type: "n", count: 30, data: #"{"n": 2}"#)
    // Its number stays without an event, and is passed over.
    try await database.script("SELECT nextval('mt_events_sequence')")
    try await database.append(type: "n", count: 30, data: #"{"n": 2}"#)
    try await database.follow(settings)
    #expect(try await database.value("SELECT sum(n)::bigint FROM legs", as: Int.self) == 120)
    #expect(try await database.rebuild(settings, "Legs").state == .done)
    #expect(try await database.value("SELECT sum(n)::bigint FROM legs", as: Int.self) == 120)
  }
}
