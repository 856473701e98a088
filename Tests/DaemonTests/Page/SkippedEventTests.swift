import Books
import Daemon
import Operator
import Postgres
import Rules
import Settings
import TestSupport
import Testing

/// Flags of the store that are set after an event was committed: by an archive, or by an operator of the store.
@Suite(.gated) struct `An event that the store sets a flag on` {
  private static func trip(_ more: String = "", form: String = batch) -> String {
    """
    [projections.Trip]
    tables = ["trip"]
    setup = "CREATE TABLE trip (stream uuid PRIMARY KEY, legs bigint NOT NULL)"
    \(more)
    \(form)
    """
  }

  private static let batch = #"""
    events = ["travel"]
    sql = '''
    INSERT INTO trip AS t (stream, legs) SELECT stream_id, count(*) FROM batch GROUP BY 1
    ON CONFLICT (stream) DO UPDATE SET legs = t.legs + excluded.legs
    '''
    """#

  private static let event = #"""
    on.travel = '''
    INSERT INTO trip AS t (stream, legs) SELECT :stream_id, 1 ON CONFLICT (stream) DO UPDATE SET legs = t.legs + 1
    '''
    """#

  private static let archive = "UPDATE mt_streams SET is_archived = true; UPDATE mt_events SET is_archived = true"

  private func legs(_ database: TestDatabase) async throws -> String {
    try await database.value("SELECT coalesce(string_agg(legs::text, ' ' ORDER BY legs), '') FROM trip")
  }

  private func skipped(_ database: TestDatabase) async throws -> String {
    try await database.value(
      "SELECT coalesce(string_agg(format('%s %s %s-%s', events, reason, first_seq_id, last_seq_id), ', ' ORDER BY reason), '') FROM tidemark.skipped"
    )
  }

  @Test(arguments: [batch, event])
  func `is applied once, whether it was archived before its page, after it, or before a rebuild`(form: String)
    async throws
  {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.trip(form: form))
    try await database.append(type: "travel", count: 2)
    try await database.follow(settings)
    try await database.append(type: "travel", count: 3)
    try await database.script(Self.archive)
    try await database.follow(settings)
    #expect(try await legs(database) == "2 3")
    // Made live again, they are not applied again.
    try await database.script("UPDATE mt_events SET is_archived = false WHERE seq_id > 3")
    try await database.append(type: "travel", count: 1)
    try await database.follow(settings)
    #expect(try await legs(database) == "1 2 3")
    #expect(try await database.rebuild(settings, "Trip").state == .done)
    #expect(try await legs(database) == "1 2 3")
    #expect(try await skipped(database) == "")
  }

  @Test(arguments: [batch, event])
  func `is counted where the projection skips archived ones, and the rebuild that would take its rows asks`(
    form: String
  ) async throws {
    let database = try await TestDatabase.make()
    let config = Self.trip("archived = \"skip\"", form: form)
    let settings = try await database.install(config)
    try await database.append(type: "travel", count: 2)
    try await database.follow(settings)
    try await database.append(type: "other", count: 2)
    try await database.append(type: "travel", count: 3)
    try await database.script(Self.archive)
    try await database.append(type: "travel", count: 1)
    try await database.follow(settings)
    #expect(try await legs(database) == "1 2")
    // Only events of its types count.
    #expect(try await skipped(database) == "3 archived 5-7")
    let status = try await Program.run(["status", "-c", try Program.settings(database.conninfo, config)])
    #expect(
      status.output.contains("Trip:All: 3 events skipped, archived before the shard read them (sequence 5 to 7)"),
      "\(status)")
    await #expect {
      try await database.rebuild(settings, "Trip")
    } throws: { error in
      let problem = error as? Problem
      return problem?.code == .rebuild(.fewerRows)
        && problem?.message == "trip would have 1 row instead of 2 (5 events are archived)"
    }
    #expect(try await legs(database) == "1 2")
    var request = RebuildTable.Request()
    request.allowsFewer = true
    #expect(try await database.rebuild(settings, "Trip", request).state == .done)
    #expect(try await legs(database) == "1")
  }

  @Test func `is counted once when a page is cut short, and again in no other`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.trip("archived = \"skip\"", form: Self.event))
    // More events than one page of the event form carries.
    try await database.append(type: "travel", count: 3_000)
    try await database.script("UPDATE mt_events SET is_archived = true WHERE seq_id % 10 = 0")
    try await database.append(type: "travel", count: 3_000)
    try await database.follow(settings)
    #expect(try await legs(database) == "2700 3000")
    #expect(try await skipped(database) == "300 archived 10-3000")
  }

  @Test func `is counted if the store marks it as skipped`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.trip())
    try await database.script("ALTER TABLE mt_events ADD COLUMN is_skipped boolean DEFAULT false")
    try await database.append(type: "travel", count: 4)
    try await database.script("UPDATE mt_events SET is_skipped = true WHERE seq_id = 2")
    try await database.follow(settings)
    #expect(try await legs(database) == "3")
    #expect(try await skipped(database) == "1 marked 2-2")
  }

  @Test func `is counted if a rule ignores its failure`() async throws {
    let database = try await TestDatabase.make()
    let rule = "[[on_error]]\nsqlstate = [\"22*\"]\ndo = [\"ignore\"]\n"
    let bad = Self.batch.replacing("count(*)", with: "sum((data->>'N')::int)")
    let settings = try await database.install(rule + Self.trip(form: bad))
    try await database.append(type: "travel", count: 2, data: #"{"N": 1}"#)
    try await database.append(type: "travel", count: 2, data: #"{"N": "x"}"#)
    try await database.follow(settings)
    #expect(try await legs(database) == "2")
    #expect(try await skipped(database) == "2 ignored 3-4")
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
  }

  /// Recorded late, replayed late: what counts is the projection's word, as in a page.
  @Test(arguments: [("keep", 1), ("skip", 0)])
  func `becomes a dead letter when it arrives late and archived, if the projection keeps those`(
    archived: String, letters: Int
  ) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.trip("archived = \"\(archived)\""))
    try await database.append(type: "travel", count: 2)
    try await database.follow(settings)
    // A number that the mark has skipped.
    try await database.script(
      """
      SELECT setval('mt_events_sequence', 9); UPDATE mt_event_progression SET last_seq_id = 9; UPDATE tidemark.position SET last_seq_id = 9; UPDATE tidemark.high_water SET mark = 9;
      INSERT INTO tidemark.gap (first_seq_id, last_seq_id, reason) VALUES (5, 9, 'grace');
      WITH s AS (INSERT INTO mt_streams (id, version, is_archived) VALUES (gen_random_uuid(), 1, true) RETURNING id)
      INSERT INTO mt_events (seq_id, id, stream_id, version, data, type, is_archived) SELECT 7, gen_random_uuid(), id, 1, '{}', 'travel', true FROM s;
      """)
    try await withDaemon(settings) { daemon in
      try await eventually("the late arrival is recorded") {
        try await database.value("SELECT arrived = '{7}' FROM tidemark.gap", as: Bool.self)
      }
    }
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == letters)
    if letters == 1 {
      let config = try Program.settings(database.conninfo, Self.trip())
      let replayed = try await Program.run(["dead-letters", "replay", "--yes", "-c", config])
      #expect(replayed.code == 0, "\(replayed)")
      #expect(try await legs(database) == "1 2")
    }
  }

  // MARK: Archived as soon as they are committed

  /// `close` appends events to a stream in one transaction and archives it some milliseconds later in another, as a host does with a closing
  /// event; `committed` has what was committed.
  private static let host = #"""
    CREATE TABLE committed (stream uuid, legs bigint);
    CREATE PROCEDURE close(legs integer, pause double precision) LANGUAGE plpgsql AS $$
    DECLARE s uuid := gen_random_uuid();
    BEGIN
      PERFORM tidemark.append(s, (SELECT jsonb_agg('{"type": "travel", "data": {}}'::jsonb) FROM generate_series(1, legs)));
      INSERT INTO committed VALUES (s, legs);
      COMMIT;
      PERFORM pg_sleep(pause);
      UPDATE mt_streams SET is_archived = true WHERE id = s;
      UPDATE mt_events SET is_archived = true WHERE stream_id = s;
      COMMIT;
    END $$;
    """#

  /// As Marten makes them with UseArchivedStreamPartitioning: archived rows move to another table.
  private static let partitions = """
    DROP TABLE IF EXISTS mt_events, mt_streams CASCADE;
    CREATE SEQUENCE IF NOT EXISTS mt_events_sequence;
    CREATE TABLE mt_streams (id uuid, type varchar, version bigint, "timestamp" timestamptz NOT NULL DEFAULT now(), tenant_id varchar DEFAULT '*DEFAULT*',
      is_archived bool DEFAULT false, PRIMARY KEY (id, is_archived)) PARTITION BY LIST (is_archived);
    CREATE TABLE mt_streams_archived PARTITION OF mt_streams FOR VALUES IN (true);
    CREATE TABLE mt_streams_default PARTITION OF mt_streams DEFAULT;
    CREATE TABLE mt_events (seq_id bigint, id uuid NOT NULL, stream_id uuid, version bigint NOT NULL, data jsonb NOT NULL, type varchar(500) NOT NULL,
      "timestamp" timestamptz NOT NULL DEFAULT now(), tenant_id varchar DEFAULT '*DEFAULT*', mt_dotnet_type varchar, is_archived bool DEFAULT false,
      PRIMARY KEY (seq_id, is_archived)) PARTITION BY LIST (is_archived);
    CREATE TABLE mt_events_archived PARTITION OF mt_events FOR VALUES IN (true);
    CREATE TABLE mt_events_default PARTITION OF mt_events DEFAULT;
    CREATE TABLE mt_event_progression (name varchar PRIMARY KEY, last_seq_id bigint, last_updated timestamptz DEFAULT transaction_timestamp());
    """

  @Test(arguments: [batch, event], ["", partitions])
  func `milliseconds after its commit is applied once, live and in a rebuild`(form: String, store: String) async throws
  {
    let database = try await TestDatabase.make()
    if !store.isEmpty { try await database.script(store) }
    let settings = try await database.install(Self.trip(form: form))
    try await database.script(Self.host)
    func wrong() async throws -> Int {
      try await database.value(
        "SELECT count(*) FROM committed AS c FULL JOIN trip AS t USING (stream) WHERE t.legs IS DISTINCT FROM c.legs")
    }
    try await withDaemon(settings) { daemon in
      try await withThrowingTaskGroup(of: Void.self) { writers in
        for writer in 1...3 {
          writers.addTask {
            try await database.connected { session in
              for round in 1...20 {
                _ = try await session.script("CALL close(\(round % 3 + 1), \(Double(round * writer % 25) / 1000))")
              }
            }
          }
        }
        try await writers.waitForAll()
      }
      try await daemon.caughtUp()
    }
    #expect(try await database.value("SELECT count(*) FROM committed", as: Int.self) == 60)
    #expect(try await database.value("SELECT count(*) FROM mt_events WHERE NOT is_archived", as: Int.self) == 0)
    #expect(try await wrong() == 0)
    #expect(try await database.rebuild(settings, "Trip").state == .done)
    #expect(try await wrong() == 0)
  }
}
