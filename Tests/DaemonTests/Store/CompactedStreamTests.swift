import Books
import Daemon
import Operator
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

/// A host compacts a stream: its events are gone, and one row with a snapshot stands for them.
@Suite(.gated) struct `A stream that the store compacts` {
  // MARK: Projections

  private static func trip(_ form: String, events: String = "events = [\"travel\", \"Compacted<Trip>\"]") -> String {
    """
    [projections.Trip]
    \(events)
    tables = ["trip"]
    key = "stream"
    setup = "CREATE TABLE trip (stream uuid PRIMARY KEY, miles bigint NOT NULL, legs bigint NOT NULL)"
    \(form)

    """
  }

  /// A snapshot takes the place of what was there; in a page it comes before the other events of its stream.
  private static let taking = trip(
    #"""
    sql = '''
    DELETE FROM trip USING batch AS b WHERE b.type = 'Compacted<Trip>' AND trip.stream = b.stream_id;
    INSERT INTO trip AS t (stream, miles, legs)
    SELECT stream_id, sum(coalesce(data->'Snapshot'->>'Miles', data->>'Miles')::bigint), sum(coalesce(data->'Snapshot'->>'Legs', '1')::bigint)
      FROM batch GROUP BY 1
    ON CONFLICT (stream) DO UPDATE SET miles = t.miles + excluded.miles, legs = t.legs + excluded.legs
    '''
    """#)

  private static let takingByEvent = trip(
    #"""
    on.travel = '''
    INSERT INTO trip AS t (stream, miles, legs) SELECT :stream_id, (:data->>'Miles')::bigint, 1
    ON CONFLICT (stream) DO UPDATE SET miles = t.miles + excluded.miles, legs = t.legs + 1
    '''
    on."Compacted<Trip>" = '''
    INSERT INTO trip AS t (stream, miles, legs) SELECT :stream_id, (:data->'Snapshot'->>'Miles')::bigint, (:data->'Snapshot'->>'Legs')::bigint
    ON CONFLICT (stream) DO UPDATE SET miles = excluded.miles, legs = excluded.legs
    '''
    """#, events: "")

  private static let counting = #"""
    sql = '''
    INSERT INTO trip AS t (stream, miles, legs)
    SELECT stream_id, sum((data->>'Miles')::bigint), count(*) FROM batch GROUP BY 1
    ON CONFLICT (stream) DO UPDATE SET miles = t.miles + excluded.miles, legs = t.legs + excluded.legs
    '''
    """#
  private static let onlyTravel = "events = [\"travel\"]"
  private static let ignorant = trip(counting, events: onlyTravel)
  private static let ignorantByEvent = trip(
    #"""
    on.travel = '''
    INSERT INTO trip AS t (stream, miles, legs) SELECT :stream_id, (:data->>'Miles')::bigint, 1
    ON CONFLICT (stream) DO UPDATE SET miles = t.miles + excluded.miles, legs = t.legs + 1
    '''
    """#, events: "")

  private static func plugin(_ programs: PluginPrograms, takes: Bool) throws -> String {
    let program = try programs.python(
      """
      def one(event):
          data = event["data"]
          if event["type"] == "travel":
              return {"text": "INSERT INTO trip AS t VALUES ($1, $2, 1) ON CONFLICT (stream) DO UPDATE SET miles = t.miles + excluded.miles, legs = t.legs + 1",
                      "values": [event["stream_id"], str(data["Miles"])]}
          return {"text": "INSERT INTO trip VALUES ($1, $2, $3) ON CONFLICT (stream) DO UPDATE SET miles = excluded.miles, legs = excluded.legs",
                  "values": [event["stream_id"], str(data["Snapshot"]["Miles"]), str(data["Snapshot"]["Legs"])]}
      def answer(page, events): return applied(page, sql=[one(event) for event in events])
      """)
    return trip(
      "exec = [\"\(program)\"]\neffects = \"database\"",
      events: takes ? "events = [\"travel\", \"Compacted<Trip>\"]" : onlyTravel
    ).replacing("key = \"stream\"\n", with: "")
  }

  enum Form: String, CaseIterable, Sendable { case sql, event, plugin }

  private static func projection(_ form: Form, takes: Bool, _ programs: PluginPrograms) throws -> String {
    switch form {
    case .sql: takes ? taking : ignorant
    case .event: takes ? takingByEvent : ignorantByEvent
    case .plugin: try plugin(programs, takes: takes)
    }
  }

  // MARK: The store

  /// `travel` appends, and notes what it has committed; `compact` does to the rows what Marten's CompactStreamAsync does.
  private static let host = #"""
    ALTER TABLE mt_streams ADD COLUMN compacted_version bigint NOT NULL DEFAULT 0;
    CREATE TABLE committed (stream uuid, miles bigint);
    CREATE FUNCTION stream(n integer) RETURNS uuid LANGUAGE sql AS $$ SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
    CREATE FUNCTION travel(n integer, VARIADIC miles integer[]) RETURNS void LANGUAGE sql AS $$
      SELECT tidemark.append(stream(n), (SELECT jsonb_agg(jsonb_build_object('type', 'travel', 'data', jsonb_build_object('Miles', m))) FROM unnest(miles) AS m));
      INSERT INTO committed SELECT stream(n), m FROM unnest(miles) AS m
    $$;
    CREATE FUNCTION compact(n integer, upto bigint DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE v bigint; snapshot jsonb;
    BEGIN
      PERFORM FROM mt_streams WHERE id = stream(n) FOR UPDATE;
      SELECT coalesce(upto, max(version)) INTO v FROM mt_events WHERE stream_id = stream(n);
      SELECT jsonb_build_object('Id', '00000000-0000-0000-0000-000000000000', 'Version', v,
               'Miles', sum(coalesce(data->'Snapshot'->>'Miles', data->>'Miles')::bigint), 'Legs', sum(coalesce(data->'Snapshot'->>'Legs', '1')::bigint))
        INTO snapshot FROM mt_events WHERE stream_id = stream(n) AND version <= v;
      UPDATE mt_events SET type = 'Compacted<Trip>', mt_dotnet_type = 'Compacted of Trip', id = gen_random_uuid(), "timestamp" = now(),
             data = jsonb_build_object('Snapshot', snapshot, 'PreviousStreamId', stream(n), 'PreviousStreamKey', '')
       WHERE stream_id = stream(n) AND version = v;
      DELETE FROM mt_events WHERE stream_id = stream(n) AND version < v;
      UPDATE mt_streams SET compacted_version = v WHERE id = stream(n);
    END $$;
    """#

  private func prepared(_ projection: String, followed: Bool = true) async throws -> (TestDatabase, Settings) {
    let database = try await TestDatabase.make()
    let settings = try await database.install(projection)
    try await database.script(Self.host)
    try await database.script("SELECT travel(1, 1, 2, 3, 4); SELECT travel(2, 10, 20, 30)")
    if followed { try await database.follow(settings) }
    return (database, settings)
  }

  /// The rows that differ from what was committed.
  private func wrong(_ database: TestDatabase) async throws -> String {
    try await database.value(
      """
      SELECT coalesce(string_agg(format('%s: %s/%s of %s/%s', right(stream::text, 2), t.miles, t.legs, c.miles, c.legs), ', '), '')
        FROM (SELECT stream, sum(miles)::bigint AS miles, count(*) AS legs FROM committed GROUP BY 1) AS c
        FULL JOIN trip AS t USING (stream) WHERE (t.miles, t.legs) IS DISTINCT FROM (c.miles, c.legs)
      """)
  }

  private func rows(_ database: TestDatabase) async throws -> String {
    try await database.value(
      "SELECT coalesce(string_agg(format('%s/%s', miles, legs), ' ' ORDER BY stream), '') FROM trip")
  }

  private func letters(_ database: TestDatabase) async throws -> String {
    try await database.value(
      "SELECT coalesce(string_agg(format('%s %s %s', seq_id, type, sqlstate), ', ' ORDER BY seq_id), '') FROM tidemark.dead_letter"
    )
  }

  // MARK: Tests

  @Test(arguments: Form.allCases)
  func `is replaced by its snapshot, below the position and above it, again, and in a rebuild`(form: Form) async throws
  {
    let programs = try PluginPrograms()
    let (database, settings) = try await prepared(try Self.projection(form, takes: true, programs))
    // Below.
    try await database.script("SELECT compact(1, 3); SELECT travel(1, 5)")
    try await database.follow(settings)
    #expect(try await rows(database) == "15/5 60/3")
    // Above; of the second stream some of the events have been applied, of the third none.
    try await database.script(
      """
      SELECT travel(1, 6, 7), travel(2, 40, 50), travel(3, 100, 200);
      SELECT compact(1, 6), compact(2), compact(3, 1); SELECT travel(2, 60), travel(3, 300);
      SELECT compact(3, 2), travel(1, 8)
      """)
    try await database.follow(settings)
    #expect(try await wrong(database) == "")
    #expect(try await rows(database) == "36/8 210/6 600/3")
    #expect(try await letters(database) == "")
    try await database.script("UPDATE trip SET miles = 0")
    #expect(try await database.rebuild(settings, "Trip").state == .done)
    #expect(try await wrong(database) == "")
  }

  @Test(arguments: Form.allCases)
  func `beside a running daemon leaves the sums of what was committed`(form: Form) async throws {
    let programs = try PluginPrograms()
    let (database, settings) = try await prepared(try Self.projection(form, takes: true, programs))
    try await withDaemon(settings) { daemon in
      try await database.connected { session in
        for _ in 1...150 {
          let stream = Int.random(in: 1...6)
          _ = try await session.script("SELECT travel(\(stream), 1, 2, 3)")
          if Bool.random() { _ = try await session.script("SELECT compact(\(stream))") }
        }
      }
      try await daemon.caughtUp()
    }
    #expect(try await wrong(database) == "")
    #expect(try await letters(database) == "")
    #expect(try await database.rebuild(settings, "Trip").state == .done)
    #expect(try await wrong(database) == "")
  }

  @Test(arguments: Form.allCases)
  func `stops a shard that has not applied its events, and takes no snapshot`(form: Form) async throws {
    let programs = try PluginPrograms()
    let (database, settings) = try await prepared(try Self.projection(form, takes: false, programs))
    try await database.script(
      "SELECT travel(3, 7); SELECT travel(1, 5), travel(2, 40), travel(2, 50); SELECT compact(1), compact(2, 4); SELECT travel(1, 6)"
    )
    for _ in 1...2 {
      try await withDaemon(settings) { daemon in
        let problem = try await daemon.observed.first("the shard stops") { $0.when(.shardStopped)?.failure }
        #expect(problem.code == .raised(.compacted) && problem.sequence == 9, "\(problem)")
        #expect(
          problem.message.contains(
            "event 9 of type Compacted<Trip> stands for the events of stream 00000000-0000-4000-8000-000000000001")
            && problem.message.contains("compacted") && problem.hint?.contains("accept_compacted = [\"Trip\"]") == true,
          "\(problem)")
        try await eventually("status says so") {
          try await database.value("SELECT coalesce(reason, '') LIKE '%compacted%' FROM tidemark.shard")
        }
      }
      #expect(try await rows(database) == "10/4 60/3 7/1")
      #expect(try await database.position("Trip:All") == 8)
    }
    // As the hint says: the projection takes snapshots from now on.
    let taking = try database.settings(try Self.projection(form, takes: true, programs))
    try await database.follow(taking)
    #expect(try await wrong(database) == "")
  }

  /// Those who read all types are shown the row, and do not know it.
  @Test(arguments: [
    (trip(counting, events: ""), false),
    (trip(counting, events: "").replacing("count(*)", with: "count(*) FILTER (WHERE type <> 'Compacted<Trip>')"), true),
    (trip(counting, events: "accept_compacted = [\"Trip\"]"), true),
    (trip(counting, events: onlyTravel + "\naccept_compacted = [\"Trip\"]"), true),
    (trip(counting, events: onlyTravel + "\naccept_compacted = [\"Invoice\"]"), false),
  ])
  func `is passed by a projection that names its type, or accepts it`(projection: String, passes: Bool) async throws {
    // Without a default, the first would stop at the missing miles.
    let (database, settings) = try await prepared(
      projection.replacing("(data->>'Miles')::bigint", with: "coalesce(data->>'Miles', '0')::bigint"))
    try await database.script("SELECT travel(1, 5, 6); SELECT compact(1); SELECT travel(1, 7)")
    try await withDaemon(settings) { daemon in
      if passes {
        try await daemon.caughtUp()
      } else {
        let problem = try await daemon.observed.first("the shard stops") { $0.when(.shardStopped)?.failure }
        #expect(problem.code == .raised(.compacted), "\(problem)")
        #expect(try await database.position("Trip:All") == 8)
      }
    }
  }

  /// One that fails on the row is not blamed on its data.
  @Test func `is named even where a statement fails on its row`() async throws {
    let (database, settings) = try await prepared(Self.trip(Self.counting, events: ""))
    try await database.script("SELECT travel(3, 5, 6); SELECT compact(3)")
    try await withDaemon(settings) { daemon in
      let problem = try await daemon.observed.first("the shard stops") { $0.when(.shardStopped)?.failure }
      #expect(problem.code == .raised(.compacted), "\(problem)")
    }
    #expect(try await letters(database) == "")
  }

  @Test(arguments: Form.allCases)
  func `becomes a dead letter if a rule says so, which is replayed once the projection takes it`(form: Form)
    async throws
  {
    let programs = try PluginPrograms()
    let rule = "[[on_error]]\nsqlstate = \"TM311\"\ndo = \"skip\"\n"
    let (database, settings) = try await prepared(rule + (try Self.projection(form, takes: false, programs)))
    try await database.script(
      "SELECT travel(3, 7); SELECT travel(1, 5, 6), travel(2, 40); SELECT compact(1, 5), compact(2)")
    try await database.follow(settings)
    #expect(try await rows(database) == "16/5 60/3 7/1")
    #expect(try await letters(database) == "9 Compacted<Trip> TM311, 11 Compacted<Trip> TM311")
    let config = try Program.settings(database.conninfo, rule + (try Self.projection(form, takes: true, programs)))
    try await database.script("DELETE FROM tidemark.dead_letter WHERE seq_id = 9")
    let replayed = try await Program.run(["dead-letters", "replay", "--yes", "--shard", "Trip", "-c", config])
    #expect(replayed.code == 0, "\(replayed)")
    #expect(try await rows(database) == "16/5 100/4 7/1")
  }

  /// Each statement of a page sees the events of its own moment.
  @Test func `while a page of it runs is not passed`() async throws {
    let slow = Self.ignorant.replacing(
      "INSERT INTO trip", with: "SELECT count(pg_advisory_xact_lock(4711)) FROM batch;\nINSERT INTO trip")
    let (database, settings) = try await prepared(slow)
    let blocker = try await Session.connect(database.options)
    try await blocker.script("SELECT pg_advisory_lock(4711)")
    try await database.script("SELECT travel(1, 5, 6)")
    try await withDaemon(settings) { daemon in
      try await eventually("the page waits") {
        try await database.value(
          "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted)")
      }
      try await database.script("SELECT compact(1)")
      try await blocker.script("SELECT pg_advisory_unlock(4711)")
      let problem = try await daemon.observed.first("the shard stops") { $0.when(.shardStopped)?.failure }
      #expect(problem.code == .raised(.compacted) && problem.sequence == 9, "\(problem)")
    }
    await blocker.close()
    #expect(try await database.position("Trip:All") == 8)
    #expect(try await rows(database) == "10/4 60/3")
  }

  @Test(arguments: [RequestedWay.swap, .inPlace])
  func `is asked about before a rebuild that needs its events`(way: RequestedWay) async throws {
    let (database, settings) = try await prepared(Self.ignorant)
    try await database.script("SELECT compact(1), compact(2, 2)")
    var request = RebuildTable.Request()
    request.way = way
    await #expect {
      try await database.rebuild(settings, "Trip", request)
    } throws: { error in
      guard let problem = error as? Problem else { return false }
      return problem.code == .rebuild(.fewerRows)
        && problem.message.contains(
          "2 streams are compacted (00000000-0000-4000-8000-000000000001, 00000000-0000-4000-8000-000000000002)")
        && problem.hint?.contains("--fewer-rows") == true && problem.hint?.contains("data->'Snapshot'") == true
    }
    #expect(try await rows(database) == "10/4 60/3")
    #expect(try await letters(database) == "")
    request.allowsFewer = true
    #expect(try await database.rebuild(settings, "Trip", request).state == .done)
    #expect(try await rows(database) == "30/1")
    #expect(try await letters(database) == "4 Compacted<Trip> TM311, 6 Compacted<Trip> TM311")
    #expect(try await database.leftovers() == 0)
  }

  @Test func `is shown by check, unless the projection takes or accepts it`() async throws {
    let (database, _) = try await prepared(Self.ignorant)
    try await database.script("SELECT compact(1)")
    func check(_ projection: String) async throws -> Program.Outcome {
      try await Program.run(["check", "-c", try Program.settings(database.conninfo, projection)])
    }
    let warned = try await check(Self.ignorant)
    #expect(
      warned.code == 0
        && warned.output.contains("the store has compacted 1 stream into rows of type Compacted<Trip>"), "\(warned)")
    let accepting = Self.trip(Self.counting, events: Self.onlyTravel + "\naccept_compacted = [\"Trip\"]")
    for other in [Self.taking, Self.takingByEvent, accepting] {
      let silent = try await check(other)
      #expect(silent.code == 0 && !silent.output.contains("compacted"), "\(silent)")
    }
  }
}
