import Books
import Daemon
import EventStore
import Operator
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

private let seen = """
  [projections.All]
  tables = ["seen"]
  setup = "CREATE TABLE seen (seq bigint PRIMARY KEY)"
  sql = "INSERT INTO seen SELECT seq_id FROM batch"
  """

/// What is followed is the table that is there: whatever a migration of the host does to it, every event is applied once.
@Suite(.gated) struct `A store that changes while the daemon runs` {
  /// Everything that a host's migration may do in one transaction, while five events are there and five more come.
  @Test(arguments: [
    // Made anew with its rows, and our view dropped along with the old table.
    """
    CREATE TABLE events_new (LIKE mt_events INCLUDING ALL); INSERT INTO events_new SELECT * FROM mt_events;
    ALTER SEQUENCE mt_events_sequence OWNED BY events_new.seq_id; DROP TABLE mt_events CASCADE;
    ALTER TABLE events_new RENAME TO mt_events
    """,
    // Our view stays on the old table.
    """
    CREATE TABLE events_new (LIKE mt_events INCLUDING ALL); INSERT INTO events_new SELECT * FROM mt_events;
    ALTER TABLE mt_events RENAME TO mt_events_old; ALTER TABLE events_new RENAME TO mt_events
    """,
    "DROP VIEW tidemark.batch",
    "DROP VIEW tidemark.batch; ALTER TABLE mt_events ALTER COLUMN type TYPE varchar(1000)",
    "ALTER TABLE mt_events DROP COLUMN causation_id CASCADE",
    "ALTER TABLE mt_events ADD COLUMN note text",
    "DROP FUNCTION tidemark_internal.cut_page(text, bigint); DROP VIEW tidemark.batch",
  ])
  func `is taken up again, and no event is lost or applied twice`(migration: String) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    try await database.append(type: "x", count: 5)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.script("BEGIN; SET LOCAL client_min_messages = error; \(migration); COMMIT")
      try await database.script(
        """
        INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
        SELECT nextval('mt_events_sequence'), gen_random_uuid(), (SELECT id FROM mt_streams LIMIT 1), 10 + g, '{}', 'x'
          FROM generate_series(1, 5) AS g
        """)
      try await eventually("all ten are applied") {
        try await database.value("SELECT count(*) FROM seen", as: Int.self) == 10
      }
    }
    #expect(try await database.position("All:All") == 10)
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
  }

  @Test func `keeps the grants of the view, which must be made for another table`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    let viewer = "\(database.name)_viewer"
    try await database.script("CREATE ROLE \(viewer); GRANT SELECT ON tidemark.batch TO \(viewer), PUBLIC")
    try await database.script(
      """
      CREATE TABLE events_new (LIKE mt_events INCLUDING ALL);
      ALTER TABLE mt_events RENAME TO mt_events_old; ALTER TABLE events_new RENAME TO mt_events
      """)
    _ = try await database.connected { session in
      try await Installer(settings: settings).install(session, streamIDType: "uuid")
    }
    let acl: String = try await database.value(
      """
      SELECT string_agg(coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC'), ',' ORDER BY a.grantee)
        FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = 'tidemark.batch'::regclass AND a.grantee <> c.relowner
      """)
    #expect(acl == "PUBLIC,\(viewer)")
  }

  /// Each of our own objects that a shard or an agent uses, dropped by hand or by a CASCADE.
  @Test(arguments: [
    "DROP FUNCTION tidemark_internal.begin_page(text, bigint, bigint, text[], boolean)",
    "DROP FUNCTION tidemark_internal.park(text, text)",
    "DROP SCHEMA tidemark_internal CASCADE",
    "DROP TABLE tidemark.high_water",
    "DROP TABLE tidemark.node CASCADE",
    "DROP TABLE tidemark.rebuild CASCADE",
  ])
  func `gets back what it lost of ours, without a person`(loss: String) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    try await database.append(type: "x", count: 5)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.script("SET client_min_messages = error; \(loss)")
      try await database.script(
        """
        INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
        SELECT nextval('mt_events_sequence'), gen_random_uuid(), (SELECT id FROM mt_streams LIMIT 1), 10, '{}', 'x'
        """)
      try await eventually("it is applied, and nothing is missing") {
        let isWhole = try await database.connected { session in
          try await SchemaWatch(try await StoreShape.read(session, schema: "public")).isWhole(session)
        }
        let applied = try await database.value("SELECT count(*) FROM seen", as: Int.self)
        return isWhole && applied == 6
      }
    }
  }

  @Test(arguments: [
    ("DROP TABLE tidemark.gap CASCADE", "tidemark.gap"),
    ("DROP SCHEMA tidemark, tidemark_internal CASCADE", "own tables"),
  ])
  func `waits for its operator where rows of ours are lost, and heals after init`(loss: String, lost: String)
    async throws
  {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.script("SET client_min_messages = error; \(loss)")
      let refused = try await daemon.observed.first("it says so") { $0.when(.databaseRefused)?.failure }
      #expect(refused.message.contains(lost) && refused.hint?.contains("tidemark init") == true, "\(refused)")
      let config = try Program.settings(database.conninfo, seen)
      let made = try await Program.run(["init", "-c", config])
      #expect(made.code == 0 && made.output.contains(lost), "\(made)")
      try await database.append(type: "x", count: 1)
      try await eventually(within: .seconds(60), "it is followed again") {
        try await database.value("SELECT count(*) FROM seen", as: Int.self) == 1
      }
    }
  }

  @Test func `into another schema is the same store, and its positions must come along`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(seen)
    try await database.append(type: "x", count: 2)
    let before = try database.settings(seen)
    try await withDaemon(before) { try await $0.caughtUp() }
    try await database.script(
      """
      CREATE SCHEMA events; ALTER TABLE mt_events SET SCHEMA events; ALTER TABLE mt_streams SET SCHEMA events;
      ALTER SEQUENCE IF EXISTS mt_events_sequence SET SCHEMA events
      """)
    let config = try Program.settings(database.conninfo, seen, eventStore: "append = \"quick\"\nschema = \"events\"")
    let refused = try await Program.run(["init", "-c", config])
    #expect(refused.code == 1 && refused.error.contains("table of positions did not"), "\(refused)")
    let advice = try #require(refused.error.firstMatch(of: /Run: (ALTER TABLE .*;)/)?.output.1, "\(refused)")
    try await database.script(String(advice))
    let moved = try await Program.run(["init", "-c", config])
    #expect(moved.code == 0 && moved.output.contains("the move of the event store to schema events"), "\(moved)")
    let after = try database.settings(seen, eventStore: "append = \"quick\"\nschema = \"events\"")
    try await database.append(type: "x", count: 1)
    try await withDaemon(after) { try await $0.caughtUp() }
    #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 3)
  }
}
