import Operator
import Books
import Daemon
import EventStore
import Foundation
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
import Testing

private let seen = """
  [projections.All]
  tables = ["seen"]
  setup = "CREATE TABLE seen (seq bigint PRIMARY KEY, stream text, tenant text, headers jsonb)"
  sql = "INSERT INTO seen SELECT seq_id, stream_id::text, tenant_id, headers FROM batch"
  """

@Suite(.gated) struct `An event store made by init` {
  @Test func `has its functions replaced by a program of a higher number, and by no other`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    try await database.script(
      "CREATE OR REPLACE FUNCTION tidemark_internal.cut_page(shard text, ceiling bigint) RETURNS void LANGUAGE sql AS 'SELECT'"
    )
    try await database.append(type: "x", count: 1)
    func isOurs() async throws -> Bool {
      try await database.value(
        "SELECT prosrc LIKE '%last_seq_id%' FROM pg_proc WHERE proname = 'cut_page'", as: Bool.self)
    }
    try await withDaemon(settings) { try await $0.caughtUp() }
    #expect(try await !isOurs())
    try await database.script("UPDATE tidemark.installation SET version = 4")
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      _ = try await daemon.observed.first("it says so") { $0.when(.schemaUpdated) }
    }
    #expect(try await isOurs())
  }

  @Test func `of a newer program is refused`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    // Of an older number only what is missing is made.
    let last = ["the comments of the tables", "Tidemark's view and functions", "the record of the number"]
    let fifth = "a record of schema numbers, and a schema for internal functions"
    for (version, missing) in [
      (1, ["requests of operators for shards", fifth] + last), (3, [fifth] + last), (4, [fifth] + last), (5, []),
    ] {
      try await database.script("UPDATE tidemark.installation SET version = \(version)")
      let titles = try await database.connected { session in
        try await SchemaPlan.forStore(session, shape: try await StoreShape.read(session, schema: "public")).steps.map(
          \.title)
      }
      #expect(titles == missing)
    }
    try await database.script("UPDATE tidemark.installation SET version = 99")
    let problem = await #expect(throws: Problem.self) {
      try await Daemon(settings: settings, version: "test", observer: ObservationRecorder()).run()
    }
    #expect(problem?.code == .store(.schemaAhead))
  }

  @Test func `lives in any schema, also one with an odd name`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen, eventStore: "append = \"quick\"\nschema = \"Event Store's\"")
    try await database.append(type: "x", count: 3)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 3)
      #expect(
        try await database.value(
          "SELECT last_seq_id FROM \"Event Store's\".mt_event_progression WHERE name = 'All:All'", as: Int.self) == 3)
    }
  }
}

/// Stores as Marten itself makes them, in the variants that differ.
@Suite(.gated) struct `A store that Marten made` {
  private func follow(_ store: String, _ events: String, projections: String = seen) async throws -> TestDatabase {
    let database = try await TestDatabase.make()
    try await database.script(store)
    let settings = try await database.install(projections, eventStore: "append = \"rich\"\ngap_grace = \"100ms\"")
    try await database.script(events)
    try await withDaemon(settings) { try await $0.caughtUp() }
    return database
  }

  private static let progression =
    "CREATE TABLE mt_event_progression (name varchar PRIMARY KEY, last_seq_id bigint, last_updated timestamptz DEFAULT transaction_timestamp());"

  @Test(arguments: [("keep", "{1,2,3,4,5}"), ("skip", "{1,2,4,5}")])
  func `of version 7 with the least columns is followed`(archived: String, expected: String) async throws {
    let database = try await follow(
      """
      CREATE TABLE mt_streams (id uuid PRIMARY KEY, type varchar, version bigint, timestamp timestamptz NOT NULL DEFAULT now(), snapshot jsonb, snapshot_version int, created timestamptz NOT NULL DEFAULT now(), tenant_id varchar DEFAULT '*DEFAULT*', is_archived bool DEFAULT false);
      CREATE TABLE mt_events (seq_id bigint CONSTRAINT pkey_mt_events_seq_id PRIMARY KEY, id uuid NOT NULL, stream_id uuid REFERENCES mt_streams, version bigint NOT NULL, data jsonb NOT NULL, type varchar(500) NOT NULL, timestamp timestamptz NOT NULL DEFAULT now(), tenant_id varchar DEFAULT '*DEFAULT*', mt_dotnet_type varchar, is_archived bool DEFAULT false);
      CREATE SEQUENCE mt_events_sequence OWNED BY mt_events.seq_id;
      """ + Self.progression,
      """
      INSERT INTO mt_streams (id) VALUES ('00000000-0000-4000-8000-000000000001');
      INSERT INTO mt_events (seq_id, id, stream_id, version, data, type, is_archived)
      SELECT nextval('mt_events_sequence'), gen_random_uuid(), '00000000-0000-4000-8000-000000000001', n, '{}', 'x', n = 3 FROM generate_series(1, 5) AS n;
      """, projections: seen.replacing("[projections.All]", with: "[projections.All]\narchived = \"\(archived)\""))
    #expect(try await database.value("SELECT array_agg(seq ORDER BY seq)::text FROM seen") == expected)
    #expect(try await database.value("SELECT bool_and(headers IS NULL) FROM seen", as: Bool.self))
  }

  @Test func `with string streams, tenants, headers and skipped events is followed`() async throws {
    let database = try await follow(
      """
      CREATE TABLE mt_streams (id varchar, type varchar, version bigint, timestamp timestamptz NOT NULL DEFAULT now(), created timestamptz NOT NULL DEFAULT now(), tenant_id varchar DEFAULT '*DEFAULT*', is_archived bool DEFAULT false, PRIMARY KEY (tenant_id, id));
      CREATE TABLE mt_events (seq_id bigint CONSTRAINT pkey_mt_events_seq_id PRIMARY KEY, id uuid NOT NULL, stream_id varchar, version bigint NOT NULL, data jsonb NOT NULL, type varchar(500) NOT NULL, timestamp timestamptz NOT NULL DEFAULT now(), tenant_id varchar DEFAULT '*DEFAULT*', mt_dotnet_type varchar, correlation_id varchar, causation_id varchar, headers jsonb, user_name varchar, is_skipped bool, bdata bytea, is_archived bool DEFAULT false);
      CREATE SEQUENCE mt_events_sequence OWNED BY mt_events.seq_id;
      """ + Self.progression,
      """
      INSERT INTO mt_events (seq_id, id, stream_id, version, data, type, tenant_id, headers, is_skipped)
      SELECT nextval('mt_events_sequence'), gen_random_uuid(), 'stream/' || n, 1, '{}', 'x', 'tenant ' || n % 2, '{"h": 1}', n = 2 FROM generate_series(1, 4) AS n;
      """)
    #expect(
      try await database.value("SELECT string_agg(seq || stream || tenant, ',' ORDER BY seq) FROM seen")
        == "1stream/1tenant 1,3stream/3tenant 1,4stream/4tenant 0")
    try await database.script(
      "SELECT tidemark.append('stream/9', '[{\"type\":\"x\",\"data\":{}}]', 0, NULL, 'tenant 1')")
    #expect(
      try await database.value("SELECT tenant_id || version FROM mt_events WHERE stream_id = 'stream/9'") == "tenant 11"
    )
  }

  @Test(arguments: [("keep", "{1,2,3}"), ("skip", "{1,3}")])
  func `partitioned by archived is followed`(archived: String, expected: String) async throws {
    let database = try await follow(
      """
      CREATE TABLE mt_streams (id uuid, version bigint, tenant_id varchar, is_archived bool DEFAULT false, PRIMARY KEY (id, is_archived));
      CREATE TABLE mt_events (seq_id bigint, id uuid NOT NULL, stream_id uuid, version bigint NOT NULL, data jsonb NOT NULL, type varchar(500) NOT NULL, timestamp timestamptz NOT NULL DEFAULT now(), tenant_id varchar DEFAULT '*DEFAULT*', mt_dotnet_type varchar, is_archived bool DEFAULT false, PRIMARY KEY (seq_id, is_archived)) PARTITION BY LIST (is_archived);
      CREATE TABLE mt_events_archived PARTITION OF mt_events FOR VALUES IN (true);
      CREATE TABLE mt_events_default PARTITION OF mt_events DEFAULT;
      CREATE SEQUENCE mt_events_sequence;
      """ + Self.progression,
      """
      INSERT INTO mt_events (seq_id, id, stream_id, version, data, type, is_archived)
      SELECT nextval('mt_events_sequence'), gen_random_uuid(), gen_random_uuid(), 1, '{}', 'x', n = 2 FROM generate_series(1, 3) AS n;
      """, projections: seen.replacing("[projections.All]", with: "[projections.All]\narchived = \"\(archived)\""))
    #expect(try await database.value("SELECT array_agg(seq ORDER BY seq)::text FROM seen") == expected)
  }

  @Test func `has its mark shown to Marten's tools, and read from none of them`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    try await database.append(type: "x", count: 4)
    try await database.script(
      "INSERT INTO mt_event_progression VALUES ('HighWaterMark', 2), ('HighWaterMark:acme', 3), ('HighWaterStuckGap', 7)"
    )
    let early = try await Session.connect(database.options)
    try await early.script("BEGIN; SELECT nextval('mt_events_sequence')")
    try await database.append(type: "x", count: 1)
    try await database.script("UPDATE mt_event_progression SET last_seq_id = 6 WHERE name = 'HighWaterMark'")
    try await withDaemon(settings) { daemon in
      try await daemon.ticked(times: 5)
      try await eventually("the first four") { try await database.position("All:All") == 4 }
      await early.close()
      try await daemon.caughtUp()
    }
    #expect(try await database.position("HighWaterMark") == 6)
    let shards = try await database.connected { session in
      try await Positions(try await StoreShape.read(session, schema: "public")).all(session).keys.sorted()
    }
    #expect(shards == ["All:All"])
  }

  @Test func `without what following needs is refused with what to do`() async throws {
    for (store, code) in [
      ("SELECT", StoreCode.noStore),
      ("CREATE TABLE mt_events (seq_id bigint PRIMARY KEY)", .unfitStore),
      ("CREATE TABLE mt_events (seq_id bigint); CREATE SEQUENCE mt_events_sequence", .unfitStore),
      ("CREATE TABLE mt_events (seq_id bigint PRIMARY KEY); CREATE SEQUENCE mt_events_sequence", .unfitStore),
    ] {
      let database = try await TestDatabase.make()
      try await database.script(store)
      let settings = try database.settings(seen)
      let problem = await #expect(throws: Problem.self) {
        try await Daemon(settings: settings, version: "test", observer: ObservationRecorder()).run()
      }
      #expect(problem?.code == .store(code))
      #expect(problem?.hint != nil)
      #expect(
        try await database.value("SELECT to_regnamespace('tidemark') IS NULL", as: Bool.self), "nothing was changed")
    }
  }

  @Test func `that the daemon's role may not read is refused with the missing grants`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(seen)
    try await database.script(
      "CREATE ROLE \(database.name)_reader LOGIN; GRANT USAGE ON SCHEMA tidemark TO \(database.name)_reader")
    var settings = try database.settings(seen)
    settings.database.url = settings.database.url.replacing("user=postgres", with: "user=\(database.name)_reader")
    let limited = settings
    // Marten's table of what the mark stepped over, where the store has it.
    try await database.script(
      """
      CREATE TABLE mt_high_water_skips (
        starting_sequence bigint PRIMARY KEY, ending_sequence bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT now())
      """)
    let problem = await #expect(throws: Problem.self) {
      try await Daemon(settings: limited, version: "test", observer: ObservationRecorder()).run()
    }
    #expect(problem?.code == .store(.noPrivilege))
    let grants = problem?.hint?.split(separator: ": ", maxSplits: 1).last.map(String.init) ?? ""
    #expect(grants.contains("GRANT INSERT ON public.mt_high_water_skips TO"), "\(grants)")
    try await database.script(grants)
    try await database.script("GRANT ALL ON seen TO \(database.name)_reader")
    try await database.append(type: "x", count: 2)
    try await withDaemon(limited) { daemon in try await daemon.caughtUp() }
    #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 2)
  }
}

@Suite(.gated) struct `A store with a sequence for each tenant` {
  /// As UseTenantPartitionedEvents makes it: the common sequence stays, and is unused.
  @Test func `is refused by name, with what to do`() async throws {
    let database = try await TestDatabase.make()
    try await database.script(
      """
      CREATE SEQUENCE mt_events_sequence; CREATE SEQUENCE mt_events_sequence_t0; CREATE SEQUENCE mt_events_sequence_t1;
      CREATE TABLE mt_streams (id uuid, tenant_id varchar, type varchar, version bigint, is_archived boolean DEFAULT false, PRIMARY KEY (tenant_id, id));
      CREATE TABLE mt_events (seq_id bigint NOT NULL, id uuid NOT NULL, stream_id uuid, version bigint NOT NULL, data jsonb NOT NULL,
        type varchar(500) NOT NULL, "timestamp" timestamptz NOT NULL DEFAULT now(), tenant_id varchar DEFAULT '*DEFAULT*',
        is_archived boolean DEFAULT false, PRIMARY KEY (seq_id, tenant_id)) PARTITION BY LIST (tenant_id);
      CREATE TABLE mt_events_t0 PARTITION OF mt_events FOR VALUES IN ('t0');
      CREATE TABLE mt_event_progression (name varchar PRIMARY KEY, last_seq_id bigint, last_updated timestamptz DEFAULT transaction_timestamp())
      """)
    let config = try Program.settings(database.conninfo, "")
    for verb in ["init", "check", "run"] {
      let outcome = try await Program.run([verb, "-c", config])
      #expect(
        outcome.code == 1
          && outcome.error.contains("each tenant has a sequence of its own, such as mt_events_sequence_t0")
          && outcome.error.contains("UseTenantPartitionedEvents") && outcome.error.contains("TM202"),
        "\(verb): \(outcome)")
    }
  }
}

@Suite(.gated) struct `A standby` {
  /// On a standby the locks of writers cannot be seen, so nothing there can prove a mark.
  @Test func `is refused, and said to be one`() async throws {
    let cluster = try await PrivateCluster.start()
    let database = try await TestDatabase.make(on: cluster)
    _ = try await database.install(seen)
    await cluster.stop(.fast)
    try Data().write(to: URL(filePath: "\(cluster.directory)/data/standby.signal"))
    try await cluster.startServer()
    let settings = try Program.settings(database.conninfo)
    let outcome = try await Program.run(["run", "-c", settings])
    #expect(outcome.code == 1 && outcome.error.contains("the server is a standby (TM206)"), "\(outcome)")
  }
}
