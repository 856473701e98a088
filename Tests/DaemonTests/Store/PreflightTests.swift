import Daemon
import EventStore
import Foundation
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

/// What the catalogs say of a real table, and whether the advice of each refusal helps.
@Suite(.gated) struct `The preflight of a store` {
  private func preflight(_ database: TestDatabase, as role: String? = nil) async throws -> Preflight {
    try await database.connected { session in
      if let role { try await session.execute("SET ROLE \(raw: role)") }
      return try #require(try await Preflight.read(session, schema: "public"))
    }
  }

  /// The statements that a hint tells to run.
  private func statements(in hint: String) throws -> String {
    let start = try #require(hint.firstRange(of: #/[Rr]un: /#), "\(hint)").upperBound
    let end = hint.firstRange(of: " Where that is known")?.lowerBound ?? hint.endIndex
    return String(hint[start..<end])
  }

  @Test(arguments: [
    ("ALTER SEQUENCE mt_events_sequence CYCLE", "CYCLE"),
    ("ALTER SEQUENCE mt_events_sequence INCREMENT BY 50", "INCREMENT BY 50: a writer"),
    (
      "ALTER SEQUENCE mt_events_sequence INCREMENT BY 50; INSERT INTO mt_events (seq_id, id, stream_id, version, data, type) SELECT 2, gen_random_uuid(), id, 9, '{}', 'x' FROM mt_streams LIMIT 1; SELECT setval('mt_events_sequence', 51)",
      "numbers between its steps (2)"
    ),
    ("ALTER TABLE mt_events ALTER COLUMN seq_id SET DEFAULT 2 * nextval('mt_events_sequence')", "the default of"),
    (
      "CREATE SEQUENCE other; ALTER TABLE mt_events ALTER COLUMN seq_id SET DEFAULT nextval('other')",
      "the default of public.mt_events.seq_id is nextval('other'::regclass)"
    ),
    ("CREATE RULE elsewhere AS ON INSERT TO mt_events DO ALSO NOTHING", "rule elsewhere"),
    ("ALTER TABLE mt_events SET UNLOGGED", "unlogged"),
    (
      "UPDATE mt_events SET seq_id = 40",
      "below the number"
    ),
  ])
  func `names what is wrong, and its advice helps`(change: String, words: String) async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(seen)
    try await database.append(type: "x", count: 1)
    let before = try await preflight(database)
    #expect(before.findings.isEmpty, "\(before)")
    try await database.script(change)
    let found = try await preflight(database)
    #expect(found.findings.contains { $0.message.contains(words) }, "\(found)")
    for finding in found.findings { try await database.script(try statements(in: finding.hint)) }
    let after = try await preflight(database)
    #expect(after.findings.isEmpty, "\(after)")
  }

  @Test func `sees row security for the reader and for the owner of the view`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(seen)
    let (reader, owner) = ("\(database.name)_reader", "\(database.name)_owner")
    try await database.script(
      """
      CREATE ROLE \(reader); CREATE ROLE \(owner); GRANT SELECT ON ALL TABLES IN SCHEMA public TO \(reader), \(owner);
      GRANT SELECT ON SEQUENCE mt_events_sequence TO \(reader); GRANT USAGE ON SCHEMA tidemark TO \(reader)
      """)
    #expect(try await preflight(database, as: reader).findings.isEmpty)
    try await database.script("ALTER TABLE mt_events ENABLE ROW LEVEL SECURITY")
    let hidden = try await preflight(database, as: reader)
    #expect(hidden.refusals.map { $0.message.contains("role \(reader) reads") } == [true], "\(hidden)")
    try await database.script(try statements(in: hidden.refusals.first?.hint ?? ""))
    #expect(try await preflight(database, as: reader).findings.isEmpty)
    try await database.script("ALTER VIEW tidemark.batch OWNER TO \(owner)")
    let viewed = try await preflight(database, as: reader)
    #expect(viewed.refusals.map { $0.message.contains("role \(owner), the owner of the view") } == [true], "\(viewed)")
    try await database.script(try statements(in: viewed.refusals.first?.hint ?? ""))
    #expect(try await preflight(database, as: reader).findings.isEmpty)
  }

  @Test func `sees triggers and defaults of partitions, views and subscriptions`() async throws {
    let database = try await TestDatabase.make()
    try await database.script(
      """
      CREATE TABLE mt_events (seq_id bigint, is_archived boolean, PRIMARY KEY (seq_id, is_archived)) PARTITION BY LIST (is_archived);
      CREATE TABLE live PARTITION OF mt_events FOR VALUES IN (false);
      CREATE SEQUENCE mt_events_sequence; CREATE SEQUENCE other;
      ALTER TABLE live ALTER COLUMN seq_id SET DEFAULT nextval('other');
      CREATE FUNCTION renumber() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.seq_id := 7; RETURN NEW; END';
      CREATE TRIGGER renumber BEFORE INSERT ON live FOR EACH ROW EXECUTE FUNCTION renumber();
      CREATE TRIGGER after AFTER INSERT ON live FOR EACH ROW EXECUTE FUNCTION renumber();
      """)
    let found = try await preflight(database)
    #expect(found.findings.map(\.outcome) == [.ask(.leafDefaults), .ask(.insertTriggers)], "\(found)")
    #expect(found.findings[1].message.contains("renumber on live "), "\(found)")
    try await database.script(try statements(in: found.findings[0].hint))
    try await database.script("ALTER TABLE live DISABLE TRIGGER renumber")
    #expect(try await preflight(database).findings.isEmpty)
    try await database.script(
      "DROP TABLE mt_events; CREATE TABLE real (seq_id bigint PRIMARY KEY); CREATE VIEW mt_events AS SELECT * FROM real"
    )
    let view = try await preflight(database)
    #expect(view.refusals.map { $0.message.contains("is a view, not a table") } == [true], "\(view)")
  }

  @Test func `is watched while the daemon runs, and what heals is taken up again`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 3)
      try await daemon.caughtUp()
      try await database.script("ALTER SEQUENCE mt_events_sequence INCREMENT BY 50")
      try await database.append(type: "x", count: 1)
      let refusal = try await daemon.observed.first("the step is refused") {
        $0.fact == .markRefused ? $0.failure : nil
      }
      #expect(refusal.message.contains("INCREMENT BY 50"), "\(refusal)")
      #expect(try await database.position("All:All") == 3)
      // The shard itself waits for a mark and knows no reason.
      try await eventually("status says that nothing is proven, and why") {
        try await database.value(
          "SELECT condition = 'retrying' AND reason LIKE 'waits for the high-water mark: %INCREMENT BY 50%' FROM tidemark.shard WHERE name = 'All:All'"
        )
      }
      try await database.script("ALTER SEQUENCE mt_events_sequence INCREMENT BY 1")
      try await database.append(type: "x", count: 1)
      try await daemon.caughtUp()
      try await eventually("status says that it follows") {
        try await database.value("SELECT condition = 'following' FROM tidemark.shard WHERE name = 'All:All'")
      }
    }
    #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 5)
  }

  @Test func `that fails lets no shard run, and changes nothing`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    try await database.append(type: "x", count: 1)
    try await database.script("ALTER SEQUENCE mt_events_sequence CYCLE")
    let problem = await #expect(throws: Problem.self) {
      try await Daemon(settings: settings, version: "test", observer: ObservationRecorder()).run()
    }
    #expect(problem?.code == .store(.unproven))
    let outcome = try await Program.run(["check", "-c", try Program.settings(database.conninfo, seen)])
    #expect(outcome.code == 1 && outcome.error.contains("CYCLE") && outcome.error.contains("NO CYCLE;"), "\(outcome)")
    #expect(try await database.position("All:All") == nil)
  }
}
