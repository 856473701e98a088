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

@Suite(.gated) struct `A poison event` {
  /// Appends events of streams in turn; those at these places are poison.
  private static func append(_ count: Int, poison: Set<Int>, streams: Int = 7, _ database: TestDatabase) async throws {
    try await database.connected { session async throws in
      _ = try await session.script(
        """
        INSERT INTO mt_streams (id, version) SELECT md5(s::text)::uuid, 0 FROM generate_series(0, \(streams - 1)) AS s ON CONFLICT DO NOTHING;
        INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
        SELECT nextval('mt_events_sequence'), gen_random_uuid(), md5((i % \(streams))::text)::uuid, i,
               jsonb_build_object('n', CASE WHEN i = ANY ('{\(poison.sorted().map(String.init).joined(separator: ","))}') THEN 'bad' ELSE i::text END), 'n'
          FROM generate_series(1, \(count)) AS i
        """)
    }
  }

  private static func letters(_ shard: String, _ database: TestDatabase) async throws -> [Int] {
    try await database.connected { session in
      try await session.execute("SELECT seq_id FROM tidemark.dead_letter WHERE shard = \(shard) ORDER BY seq_id").rows
        .map { try $0.get(0, as: Int.self) }
    }
  }

  @Test(arguments: [
    [1], [500], [1_000], [3, 997], [1, 2, 3, 998, 999, 1_000], Array(1...1_000),
    Array(stride(from: 1, through: 1_000, by: 2)),
  ])
  func `anywhere in a page is a dead letter, and all others are applied once and in order`(places: [Int]) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch + Numbers.perEvent)
    try await Self.append(1_000, poison: Set(places), database)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      for (table, shard) in [("sum", "Sum:All"), ("each", "Each:All")] {
        #expect(try await Self.letters(shard, database) == places, "\(shard)")
        let applied = try await database.value(
          "SELECT count(*) FROM \(identifier: table)", as: Int.self)
        #expect(applied == 1_000 - places.count, "\(shard)")
      }
      #expect(
        try await database.value(
          "SELECT count(*) FROM (SELECT seq, lag(seq) OVER (ORDER BY id) AS before FROM each) AS e WHERE before > seq",
          as: Int.self) == 0, "in order")
      let letter = try await database.value(
        """
        SELECT concat_ws('|', type, class, sqlstate, message, attempts, stream_id = md5((\(places[0])::int % 7)::text)::uuid::text, node)
          FROM tidemark.dead_letter WHERE shard = 'Sum:All' ORDER BY seq_id LIMIT 1
        """, as: String.self)
      #expect(letter == #"n|event|22P02|invalid input syntax for type integer: "bad"|1|t|test"#)
    }
  }

  /// How a statement may read the page; the search guesses by the rows it has read, and each of these reads others than the first does.
  static let readings = [
    "SELECT seq_id, (data->>'n')::int FROM batch",
    "SELECT seq_id, (data->>'n')::int FROM (SELECT * FROM batch ORDER BY id OFFSET 0) AS all_first",
    "SELECT seq_id, (data->>'n')::int FROM (SELECT * FROM batch ORDER BY seq_id DESC OFFSET 0) AS backwards",
    "SELECT b.seq_id, (b.data->>'n')::int FROM batch AS a JOIN batch AS b USING (seq_id)",
    "SELECT seq_id, (data->>'n')::int + 0 * (SELECT count(*) FROM mt_events AS e WHERE e.seq_id <= least(b.seq_id, 3))::int FROM batch AS b",
    "SELECT seq_id, n FROM (SELECT seq_id, (data->>'n')::int AS n FROM batch) AS b WHERE n > 0",
  ]

  @Test(arguments: readings)
  func `is found however the statement reads the page`(reading: String) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [projections.Sum]
      events = ["n"]
      tables = ["sum", "twice"]
      archived = "skip"
      setup = "CREATE TABLE sum (seq bigint, n int); CREATE TABLE twice (seq bigint)"
      sql = "INSERT INTO twice SELECT seq_id FROM batch; INSERT INTO sum \(reading)"
      """)
    let places = [1, 2, 77, 78, 150, 299, 300]
    try await Self.append(300, poison: Set(places), database)
    // Of a type that the projection does not take, and archived: read, and not in the page.
    try await database.script(
      """
      UPDATE mt_events SET type = 'other' WHERE seq_id % 10 = 9 AND seq_id <> 299;
      UPDATE mt_events SET is_archived = true WHERE seq_id BETWEEN 80 AND 120
      """)
    let applied = try await database.value(
      "SELECT count(*) FROM mt_events WHERE type = 'n' AND NOT is_archived AND data->>'n' <> 'bad'", as: Int.self)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(try await Self.letters("Sum:All", database) == places)
      for table in ["sum", "twice"] {
        let found = try await database.value(
          "SELECT concat(count(*), ' of ', count(DISTINCT seq)) FROM \(identifier: table)", as: String.self)
        #expect(found == "\(applied) of \(applied)", "\(table)")
      }
    }
  }

  /// The server counts the statements, in a sequence, since that is not rolled back: those that read event by event are cut where they
  /// failed, the others are halved.
  @Test(arguments: [("batch", 3...6), ("(SELECT * FROM batch ORDER BY id OFFSET 0) AS b", 14...40)])
  func `in a page of 10,000 costs at most 40 statements`(from source: String, cost: ClosedRange<Int>) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [projections.Sum]
      tables = ["sum"]
      setup = "CREATE TABLE sum (seq bigint, n int); CREATE SEQUENCE runs"
      sql = "INSERT INTO sum SELECT seq_id, (data->>'n')::int FROM \(source) WHERE (SELECT nextval('runs')) > 0"
      """)
    try await Self.append(10_000, poison: [7_777], database)
    let shape = try await database.connected { try await StoreShape.read($0, schema: "public") }
    let projector = Projector(
      ShardContext(
        settings.projections[0], shape: shape, policy: { FailurePolicy() }, node: "test",
        observer: ObservationRecorder()), policy: FailurePolicy())
    try await database.connected { session in
      try await ShardSessions.prepare(session)
      _ = try await session.script("INSERT INTO public.mt_event_progression VALUES ('Sum:All', 0)")
      // The index, as in a store that is larger than the page.
      _ = try await session.script("SET enable_seqscan = off; SET enable_bitmapscan = off")
      let applied = try await projector.apply(Page(floor: 0, ceiling: 10_000), .searchingPoison(chunk: 0), on: session)
      #expect(applied.letters.map(\.sequence) == [7_777])
      #expect(applied.events == 10_000)
      let runs = try await session.execute("SELECT last_value FROM public.runs").rows[0].get(0, as: Int.self)
      #expect(cost.contains(runs), "\(runs)")
      #expect(try await session.execute("SELECT count(*) FROM public.sum").rows[0].get(0, as: Int.self) == 9_999)
    }
  }

  @Test func `that fails only in the company of another is found all the same`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [projections.Sum]
      tables = ["sum"]
      setup = "CREATE TABLE sum (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
      sql = "INSERT INTO sum SELECT (data->>'n')::int FROM batch"
      """)
    try await Self.append(100, poison: [], database)
    try await database.append(type: "n", count: 1, data: #"{"n": "37"}"#)
    try await database.append(type: "n", count: 9, data: #"{"n": "1000"}"#)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(try await Self.letters("Sum:All", database) == [101] + Array(103...110))
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 101)
    }
  }

  @Test func `that violates a constraint of the second of two statements leaves nothing of the first`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [projections.Sum]
      tables = ["seen", "sum"]
      setup = "CREATE TABLE seen (seq bigint); CREATE TABLE sum (seq bigint, n int CHECK (n <> 13))"
      sql = "INSERT INTO seen SELECT seq_id FROM batch; INSERT INTO sum SELECT seq_id, (data->>'n')::int FROM batch"
      """)
    try await Self.append(30, poison: [], database)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(try await Self.letters("Sum:All", database) == [13])
      for table in ["seen", "sum"] {
        let found = try await database.value(
          "SELECT concat(count(*), ' of ', count(DISTINCT seq), ', ', bool_or(seq = 13)) FROM \(identifier: table)",
          as: String.self)
        #expect(found == "29 of 29, f", "\(table)")
      }
    }
  }

  @Test func `whose letter cannot be written stops nothing from being right`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    try await database.script("ALTER TABLE tidemark.dead_letter ADD CHECK (seq_id <> 5)")
    try await Self.append(10, poison: [5], database)
    try await withDaemon(settings) { daemon in
      _ = try await daemon.observed.first("it fails") { $0.when(.shardStopped, .shardPaused, .shardRetrying) }
      #expect(try await database.position("Sum:All") == 0)
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 0)
      try await database.script("ALTER TABLE tidemark.dead_letter DROP CONSTRAINT dead_letter_seq_id_check")
      let config = try Program.settings(database.conninfo, Numbers.batch)
      #expect(try await Program.run(["start", "Sum", "-c", config]).code == 0)
      try await daemon.caughtUp()
      #expect(try await Self.letters("Sum:All", database) == [5])
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 9)
    }
  }

  /// As a recent Marten makes it.
  private static let documents = """
    CREATE TABLE mt_doc_deadletterevent (id uuid PRIMARY KEY, data jsonb NOT NULL, mt_last_modified timestamptz DEFAULT now(),
                                         mt_version uuid NOT NULL DEFAULT gen_random_uuid(), mt_dotnet_type varchar);
    INSERT INTO mt_doc_deadletterevent (id, data) VALUES (gen_random_uuid(), '{"ProjectionName": "Other", "ShardName": "All", "EventSequence": 5}')
    """

  private func documents(_ database: TestDatabase) async throws -> String {
    try await database.value(
      "SELECT coalesce(string_agg(data->>'EventSequence', ' ' ORDER BY (data->>'EventSequence')::int), '') FROM mt_doc_deadletterevent WHERE data->>'ProjectionName' = 'Sum'"
    )
  }

  @Test func `is kept among Marten's documents too, where those are, and goes there with its letter`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      Numbers.batch + "\n[rebuild_errors]\nskip_serialization_errors = true\n")
    try await database.script(Self.documents)
    try await Self.append(10, poison: [2, 5, 7], database)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let document = try await database.value(
        """
        SELECT concat_ws('|', data->>'ProjectionName', data->>'ShardName', data->>'TenantId', data->>'ExceptionType', data->>'Id' = id::text,
                         data->>'ExceptionMessage' <> '', (data->>'Timestamp')::timestamptz <= now(), mt_dotnet_type)
          FROM mt_doc_deadletterevent WHERE data->>'EventSequence' = '5' AND data->>'ProjectionName' = 'Sum'
        """, as: String.self)
      #expect(document == "Sum|All|*DEFAULT*|SQLSTATE 22P02|t|t|t|JasperFx.Events.Daemon.DeadLetterEvent")
    }
    #expect(try await documents(database) == "2 5 7")
    let config = try Program.settings(database.conninfo, Numbers.batch)
    let discarded = try await Program.run(["dead-letters", "discard", "--yes", "--sequence", "2", "-c", config])
    #expect(discarded.code == 0, "\(discarded)")
    #expect(try await documents(database) == "5 7")
    // One that fails again stays, once.
    _ = try await Program.run(["dead-letters", "replay", "--yes", "--shard", "Sum", "-c", config])
    #expect(try await documents(database) == "5 7")
    try await database.script("UPDATE mt_events SET data = '{\"n\": 1}' WHERE seq_id = 5")
    _ = try await Program.run(["dead-letters", "replay", "--yes", "--shard", "Sum", "-c", config])
    #expect(try await documents(database) == "7")
    try await database.script("UPDATE mt_events SET data = '{\"n\": \"bad\"}' WHERE seq_id IN (3, 5)")
    var request = RebuildTable.Request()
    request.allowsFewer = true
    #expect(try await database.rebuild(settings, "Sum", request).state == .done)
    let letters = try await Self.letters("Sum:All", database)
    #expect(letters == [2, 3, 5, 7])
    #expect(try await documents(database) == "2 3 5 7")
    #expect(
      try await database.value(
        "SELECT count(*) FROM mt_doc_deadletterevent WHERE data->>'ProjectionName' = 'Other'", as: Int.self) == 1)
  }

  @Test func `is replayed once, by the first of several commands, and the read model is whole then`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch + Numbers.perEvent)
    try await Self.append(500, poison: Set(stride(from: 10, through: 500, by: 10)), database)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      // The mend: "bad" counts as 0.
      let mended = (Numbers.batch + Numbers.perEvent).replacing(
        "(data->>'n')::int", with: "nullif(data->>'n', 'bad')::int"
      )
      .replacing("(:data->>'n')::int", with: "nullif(:data->>'n', 'bad')::int")
      .replacing("nullif(data->>'n', 'bad')::int", with: "coalesce(nullif(data->>'n', 'bad')::int, 0)")
      .replacing("nullif(:data->>'n', 'bad')::int", with: "coalesce(nullif(:data->>'n', 'bad')::int, 0)")
      let unmended = try Program.settings(database.conninfo, Numbers.batch + Numbers.perEvent)
      let again = try await Program.run(["dead-letters", "replay", "--yes", "--shard", "Sum", "-c", unmended])
      #expect(again.code == 1 && again.output.contains("applied 0, failed again 50"), "\(again)")
      #expect(
        try await database.value("SELECT min(attempts) FROM tidemark.dead_letter WHERE shard = 'Sum:All'", as: Int.self)
          == 2)

      let config = try Program.settings(database.conninfo, mended)
      let listed = try await Program.run(["dead-letters", "list", "--class", "event", "-c", config])
      #expect(listed.output.split(separator: "\n").count == 101, "\(listed)")
      let unasked = try await Program.run(["dead-letters", "replay", "-c", config])
      #expect(unasked.code == 2 && unasked.error.contains("apply 100 events again"), "\(unasked)")
      let outcomes = try await withThrowingTaskGroup(of: Program.Outcome.self) { group in
        for _ in 0..<3 { group.addTask { try await Program.run(["dead-letters", "replay", "--yes", "-c", config]) } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      let applied = outcomes.compactMap { $0.output.firstMatch(of: /applied (\d+), failed again 0/)?.output.1 }
        .compactMap { Int($0) }
      #expect(applied.count == 3 && applied.reduce(0, +) == 100, "\(outcomes)")
      for table in ["sum", "each"] {
        #expect(
          try await database.value(
            "SELECT count(*) * 1000 + count(DISTINCT seq) FROM \(identifier: table)", as: Int.self) == 500_500)
      }
      #expect(try await Program.run(["dead-letters", "list", "-c", config]).output == "no dead letters\n")
    }
  }

  @Test func `is shown, and can be discarded`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    try await Self.append(10, poison: [5, 7], database)
    let config = try Program.settings(database.conninfo, Numbers.batch)
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    let shown = try await Program.run(["dead-letters", "show", "--sequence", "5", "-c", config])
    #expect(shown.output.contains("Sum:All · event 5 of type n"), "\(shown)")
    #expect(shown.output.contains(#"invalid input syntax for type integer: "bad" (SQLSTATE 22P02)"#))
    let status = try await Program.run(["status", "-c", config])
    #expect(status.output.contains("2 dead letters"))
    let discarded = try await Program.run(["dead-letters", "discard", "--sequence", "5", "--yes", "-c", config])
    #expect(discarded.output == "discarded 1\n")
    #expect(try await Self.letters("Sum:All", database) == [7])
    let json = try await Program.run(["dead-letters", "list", "--json", "--until", "2020-01-01", "-c", config])
    #expect(json.output.filter { !$0.isWhitespace } == "[]")
  }

  @Test func `parks its stream, which is then replayed in order`() async throws {
    let database = try await TestDatabase.make()
    let parking =
      Numbers.batch.replacing("events = [\"n\"]", with: "events = [\"n\"]\non_poison = \"park-stream\"")
      + Numbers.perEvent.replacing("tables =", with: "on_poison = \"park-stream\"\ntables =")
    let settings = try await database.install(parking)
    // Stream of event 5 (of 7 streams): 5, 12, 19, …; a later page has some of it too.
    try await Self.append(100, poison: [5], database)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.connected { session async throws in
        _ = try await session.script(
          """
          INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
          SELECT nextval('mt_events_sequence'), gen_random_uuid(), md5((i % 7)::text)::uuid, i, jsonb_build_object('n', i::text), 'n'
            FROM generate_series(101, 120) AS i
          """)
      }
      try await daemon.caughtUp()
      let ofStream = Array(stride(from: 5, through: 120, by: 7))
      for (table, shard) in [("sum", "Sum:All"), ("each", "Each:All")] {
        #expect(try await Self.letters(shard, database) == ofStream, "\(shard)")
        #expect(
          try await database.value("SELECT count(*) FROM \(identifier: table)", as: Int.self) == 120 - ofStream.count)
      }
      // A later one of the stream cannot go first.
      let config = try Program.settings(database.conninfo, parking)
      let early = try await Program.run(["dead-letters", "replay", "--yes", "--sequence", "12", "-c", config])
      #expect(early.output.contains("applied 0, failed again 0, skipped 2"), "\(early)")
      try await database.script("UPDATE mt_events SET data = '{\"n\": \"5\"}' WHERE seq_id = 5")
      let replayed = try await Program.run(["dead-letters", "replay", "--yes", "-c", config])
      #expect(replayed.code == 0 && replayed.output.contains("applied \(2 * ofStream.count)"), "\(replayed)")
      try await database.append(type: "n", count: 1, data: #"{"n": "121"}"#)
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 121)
      #expect(
        try await database.value(
          """
          SELECT count(*) FROM (SELECT e.seq, lag(e.seq) OVER (PARTITION BY m.stream_id ORDER BY e.id) AS before
                                  FROM each AS e JOIN mt_events AS m ON m.seq_id = e.seq) AS x WHERE before > seq
          """, as: Int.self) == 0, "each stream in order")
    }
  }

  @Test func `is handled as the operator's rules say`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [[on_error]]
      message = "syntax for type integer"
      projection = "Sum"
      do = "ignore"
      [[on_error]]
      sqlstate = "22*"
      do = ["retry 10ms", "retry 10ms"]
      """ + "\n" + Numbers.batch + Numbers.perEvent)
    try await Self.append(20, poison: [5], database)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp(["Sum:All"])
      #expect(try await Self.letters("Sum:All", database) == [])
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 19)
      _ = try await daemon.observed.first("the chain runs out") { observation -> Bool? in
        if observation.fact == .shardStopped, let shard = observation.shard, shard.projection == "Each" {
          true
        } else {
          nil
        }
      }
      try await eventually("status says so") {
        try await database.value(
          "SELECT count(*) FROM tidemark.shard WHERE name = 'Each:All' AND reason LIKE '%(no actions are left)'",
          as: Int.self) == 1
      }
      #expect(try await database.position("Each:All") == 0)
    }
  }

  @Test func `of no stream parks nothing, and is hidden by nothing`() async throws {
    let database = try await TestDatabase.make()
    let parking =
      Numbers.batch.replacing("events = [\"n\"]", with: "events = [\"n\"]\non_poison = \"park-stream\"")
      + Numbers.perEvent.replacing("tables =", with: "on_poison = \"park-stream\"\ntables =")
    // With parking, ignoring keeps a letter, or the stream would go on without the event.
    let settings = try await database.install("[[on_error]]\nclass = \"event\"\ndo = \"ignore\"\n" + parking)
    try await Self.append(30, poison: [5, 10], database)
    try await database.script("UPDATE mt_events SET stream_id = NULL WHERE seq_id IN (9, 10, 11)")
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      for (table, shard) in [("sum", "Sum:All"), ("each", "Each:All")] {
        #expect(try await Self.letters(shard, database) == [5, 10, 12, 19, 26], "\(shard)")
        #expect(try await database.value("SELECT count(*) FROM \(identifier: table)", as: Int.self) == 25, "\(shard)")
      }
    }
  }

  @Test func `under constraints that wait for the commit takes no other with it`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [projections.Child]
      tables = ["child"]
      setup = "CREATE TABLE parent (seq bigint PRIMARY KEY); CREATE TABLE child (seq bigint REFERENCES parent DEFERRABLE INITIALLY DEFERRED, n int)"
      sql = "INSERT INTO child SELECT seq_id, (data->>'n')::int FROM batch; INSERT INTO parent SELECT seq_id FROM batch WHERE data->>'n' <> '7'"

      [projections.One]
      tables = ["one"]
      setup = "CREATE TABLE lonely (seq bigint PRIMARY KEY); INSERT INTO lonely SELECT i FROM generate_series(1, 40) AS i WHERE i <> 30; CREATE TABLE one (seq bigint REFERENCES lonely DEFERRABLE INITIALLY DEFERRED, n int)"
      on.n = "INSERT INTO one VALUES (:seq_id, (:data->>'n')::int)"
      """)
    try await Self.append(40, poison: [20], database)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(try await Self.letters("Child:All", database) == [7, 20])
      #expect(try await database.value("SELECT count(*) FROM child", as: Int.self) == 38)
      #expect(try await Self.letters("One:All", database) == [20, 30])
      #expect(try await database.value("SELECT count(*) FROM one", as: Int.self) == 38)
    }
  }

  @Test(arguments: [
    ("P0004", "ASSERT v <> 'bad', 'no'"), ("54000", "IF v = 'bad' THEN RAISE 'long' USING ERRCODE = '54000'; END IF"),
    ("55P03", "IF v = 'bad' THEN RAISE 'lock' USING ERRCODE = '55P03'; END IF"),
  ])
  func `may fail in any way that is one event's own`(state: String, body: String) async throws {
    let database = try await TestDatabase.make()
    try await database.script(
      "CREATE FUNCTION check_n(v text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN \(body); RETURN 1; END $$")
    let rule = "[[on_error]]\nclass = \"transient\"\ndo = [\"retry 10ms\", \"skip\"]\n"
    let settings = try await database.install(
      rule + Numbers.batch.replacing("(data->>'n')::int", with: "check_n(data->>'n')")
        + Numbers.perEvent.replacing("(:data->>'n')::int", with: "check_n(:data->>'n')"))
    try await Self.append(40, poison: [20], database)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      for shard in ["Sum:All", "Each:All"] { #expect(try await Self.letters(shard, database) == [20]) }
      #expect(try await database.value("SELECT DISTINCT sqlstate FROM tidemark.dead_letter", as: String.self) == state)
    }
  }

  @Test func `is not what a statement is that can work for no event, whatever the rules say`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      "[[on_error]]\nprojection = [\"Each\", \"Sum\"]\ndo = \"skip\"\n" + Numbers.batch + Numbers.perEvent)
    try await Self.append(20, poison: [], database)
    try await database.script("DROP TABLE each; DROP TABLE sum")
    try await withDaemon(settings) { daemon in
      try await eventually("both stop") {
        daemon.observed.all.count { $0.fact == .shardStopped } == 2
      }
      #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
    }
  }

  @Test func `that is archived meanwhile keeps its letter`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    try await Self.append(20, poison: [5], database)
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    try await database.script("UPDATE mt_events SET is_archived = true WHERE seq_id = 5")
    let skipping = Numbers.batch.replacing("[projections.Sum]", with: "[projections.Sum]\narchived = \"skip\"")
    let replayed = try await Program.run(
      ["dead-letters", "replay", "--yes", "-c", try Program.settings(database.conninfo, skipping)])
    #expect(replayed.code == 1 && replayed.error.contains("the event is archived"), "\(replayed)")
    #expect(try await Self.letters("Sum:All", database) == [5])
  }

  @Test func `of a type without a statement stops the shard where that is wanted`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install("[errors]\nskip_unknown_events = false\n" + Numbers.perEvent)
    try await database.append(type: "n", count: 2, data: #"{"n": "1"}"#)
    try await database.append(type: "other", count: 1)
    try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.first("it stops") { $0.when(.shardStopped)?.failure }
      #expect(failure.sequence == 3 && failure.message == "there is no statement for events of type other")
      #expect(try await database.position("Each:All") == 0)
    }
  }
}
