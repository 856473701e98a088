import Books
import Daemon
import EventStore
import Foundation
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

/// The operator's rules against failures that the real server raises.
@Suite(.gated) struct `A rule on failures` {
  @Test func `holds beside another one with other steps, in one page`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [[on_error]]
      sqlstate = "22*"
      do = ["retry 10ms", "skip"]
      [[on_error]]
      sqlstate = "23*"
      do = ["retry 20ms", "skip"]

      """ + Numbers.batch + Numbers.perEvent)
    try await database.append(type: "n", count: 1, data: #"{"n": "bad"}"#)
    try await database.append(type: "n", count: 1)
    try await database.append(type: "n", count: 3, data: #"{"n": "1"}"#)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      for shard in ["Sum:All", "Each:All"] {
        #expect(try await database.letters(shard) == ["1 22P02", "2 23502"], "\(shard)")
      }
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 3)
    }
  }

  /// The codes of a function's own, and those that only look like a statement that cannot work.
  @Test(arguments: [
    ("MY001", "RAISE 'own' USING ERRCODE = 'MY001'"), ("42601", "PERFORM to_tsquery('a b')"),
    ("42704", "PERFORM v::regconfig"), ("42501", "RAISE 'policy' USING ERRCODE = 'insufficient_privilege'"),
    ("XX000", "RAISE 'internal' USING ERRCODE = 'XX000'"), ("72000", "RAISE 'old' USING ERRCODE = '72000'"),
    ("40P01", "RAISE 'deadlock' USING ERRCODE = '40P01'"),
  ])
  func `may say of any code that an event may have to pass it over`(state: String, body: String) async throws {
    let database = try await TestDatabase.make()
    try await database.checking("IF v = 'bad' THEN \(body); END IF")
    let settings = try await database.install(
      """
      [[on_error]]
      sqlstate = ["42601", "42704", "42501"]
      do = "skip"
      [[on_error]]
      class = "transient"
      do = ["retry 10ms", "skip"]

      """ + Checked.both)
    try await database.append(type: "n", count: 3, data: #"{"n": "1"}"#)
    try await database.append(type: "n", count: 1, data: #"{"n": "bad"}"#)
    try await database.append(type: "n", count: 3, data: #"{"n": "1"}"#)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      for (shard, table) in [("Sum:All", "sum"), ("Each:All", "each")] {
        #expect(try await database.letters(shard) == ["4 \(state)"], "\(shard)")
        #expect(try await database.value("SELECT count(*) FROM \(identifier: table)", as: Int.self) == 6)
      }
    }
  }

  @Test func `finds an event that takes too long with statements for each, and never looks for ever`() async throws {
    let database = try await TestDatabase.make()
    try await database.checking("IF v = 'bad' THEN PERFORM pg_sleep(3600); END IF")
    let settings = try await database.install("[[on_error]]\nsqlstate = \"57014\"\ndo = \"skip\"\n" + Checked.both)
    try await database.append(type: "n", count: 2, data: #"{"n": "1"}"#)
    try await database.append(type: "n", count: 1, data: #"{"n": "bad"}"#)
    let shape = try await database.connected { try await StoreShape.read($0, schema: "public") }
    let projectors = settings.projections.map {
      (
        $0.name,
        Projector(
          ShardContext(
            $0, shape: shape, policy: { settings.failurePolicy }, node: "test", observer: ObservationRecorder()),
          policy: settings.failurePolicy)
      )
    }
    try await database.connected { session in
      try await ShardSessions.prepare(session)
      try await session.script("SET statement_timeout = '400ms'")
      try await session.script("INSERT INTO public.mt_event_progression VALUES ('Sum:All', 0), ('Each:All', 0)")
      let page = Page(floor: 0, ceiling: 3)
      for (name, projector) in projectors {
        if name == "Each" {
          let applied = try await projector.apply(page, .searchingPoison(chunk: 0), on: session)
          #expect(applied.letters.map(\.sqlState) == ["57014"])
        } else {
          let began = ContinuousClock.now
          let error = await #expect(throws: PageFailure.self) {
            try await projector.apply(page, .searchingPoison(chunk: 0), on: session)
          }
          #expect(error?.failure.code?.text == "57014")
          // More than the statement alone may take, since the search is one.
          #expect(ContinuousClock.now - began > .seconds(4))
        }
      }
    }
  }

  @Test func `with a message may be for some of the events without a statement`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      "[[on_error]]\nclass = \"unknown-event\"\nmessage = \"of type odd\"\ndo = \"skip\"\n" + Numbers.perEvent)
    for type in ["odd", "n", "even", "odd"] { try await database.append(type: type, count: 1, data: #"{"n": "1"}"#) }
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(
        try await database.value(
          "SELECT string_agg(concat_ws(' ', seq_id, class), ', ' ORDER BY seq_id) FROM tidemark.dead_letter",
          as: String?.self) == "1 unknown-event, 4 unknown-event")
      #expect(try await database.value("SELECT count(*) FROM each", as: Int.self) == 1)
    }
  }

  @Test func `with a pause at its end shows until when`() async throws {
    let database = try await TestDatabase.make()
    let rule = "[[on_error]]\nsqlstate = \"22P02\"\ndo = \"pause 1h\"\n"
    let settings = try await database.install(rule + Numbers.batch)
    let config = try Program.settings(database.conninfo, rule + Numbers.batch)
    try await database.append(type: "n", count: 1, data: #"{"n": "bad"}"#)
    try await withDaemon(settings) { daemon in
      _ = try await daemon.observed.first("it pauses") { $0.when(.shardPaused) }
      try await eventually("status shows it") {
        let shown = try await Program.run(["status", "-c", config]).output
        return shown.contains("paused")
          && shown.contains(/Sum:All: invalid input syntax .* \(until [0-9]{2}:[0-9]{2}:[0-9]{2}\)/)
      }
    }
  }
}

@Suite(.gated) struct `A failure of a page` {
  @Test func `with a deadlock is tried again until both are through`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [projections.Two]
      tables = ["two"]
      setup = "CREATE TABLE two (id int PRIMARY KEY, n int NOT NULL); INSERT INTO two VALUES (1, 0), (2, 0)"
      sql = "UPDATE two SET n = n + 1 WHERE id = 1; SELECT pg_advisory_xact_lock(7); UPDATE two SET n = n + 1 WHERE id = 2"
      """)
    try await database.script("ALTER DATABASE \(database.name) SET deadlock_timeout = '100ms'")
    @Sendable func waiting(_ event: String) async throws -> Int {
      try await database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = \(event)",
        as: Int.self)
    }
    let gate = try await Session.connect(database.options)
    let other = try await Session.connect(database.options)
    try await gate.script("SELECT pg_advisory_lock(7)")
    // It waits and never looks, so the shard is who finds the deadlock, and whose page is rolled back.
    try await other.script("SET deadlock_timeout = '1h'; BEGIN; UPDATE two SET n = n + 10 WHERE id = 2")
    try await database.append(type: "x", count: 1)
    try await withDaemon(settings) { daemon in
      try await eventually("the shard has the first row") { try await waiting("advisory") == 1 }
      let crossing = Task { try await other.script("UPDATE two SET n = n + 10 WHERE id = 1; COMMIT") }
      try await eventually("the other waits for it") { try await waiting("transactionid") == 1 }
      try await gate.script("SELECT pg_advisory_unlock(7)")
      let failure = try await daemon.observed.first("the page fails") { $0.when(.shardRetrying)?.failure }
      #expect(failure.code?.text == "40P01")
      _ = try await crossing.value
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT string_agg(n::text, ' ') FROM two", as: String.self) == "11 11")
    }
    await gate.close()
    await other.close()
  }

  @Test func `to serialize is tried again until it works`() async throws {
    let database = try await TestDatabase.make()
    try await database.script("CREATE SEQUENCE tries")
    try await database.checking("IF nextval('tries') < 3 THEN RAISE 'again' USING ERRCODE = '40001'; END IF")
    let settings = try await database.install(Checked.batch)
    try await database.append(type: "n", count: 3, data: #"{"n": "1"}"#)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let states = daemon.observed.all.compactMap { $0.when(.shardRetrying)?.failure?.code?.text }
      #expect(states == ["40001", "40001"])
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 3)
    }
  }

  /// A sequence counts the tries, since that is not rolled back.
  @Test(arguments: [("Sum", Checked.batch), ("Each", Checked.perEvent)])
  func `for a statement that cannot work costs one try, and no search`(name: String, projection: String) async throws {
    let database = try await TestDatabase.make()
    try await database.script("CREATE SEQUENCE tries")
    try await database.checking("PERFORM nextval('tries'); PERFORM FROM gone")
    let settings = try await database.install(projection)
    try await database.append(type: "n", count: 100, data: #"{"n": "1"}"#)
    try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.first("it stops") { $0.when(.shardStopped)?.failure }
      #expect(failure.code?.text == "42P01")
    }
    #expect(try await database.value("SELECT last_value FROM tries", as: Int.self) == 1)
    #expect(try await database.position("\(name):All") == 0)
  }

  @Test func `with a full disk is tried again until there is room, and nothing is passed over`() async throws {
    let database = try await TestDatabase.make()
    try await database.script("CREATE TABLE full_disk (); INSERT INTO full_disk DEFAULT VALUES")
    try await database.checking(
      "IF EXISTS (SELECT FROM full_disk) THEN RAISE 'no space left on device' USING ERRCODE = 'disk_full'; END IF")
    let settings = try await database.install(Checked.both)
    try await database.append(type: "n", count: 3, data: #"{"n": "1"}"#)
    try await withDaemon(settings) { daemon in
      for attempt in 1...2 {
        for name in ["Sum", "Each"] {
          let failure = try await daemon.observed.first("attempt \(attempt) of \(name) fails") {
            observation -> Problem? in
            guard observation.shard?.projection == name, observation[.attempt] == attempt else { return nil }
            return observation.when(.shardRetrying)?.failure
          }
          #expect(failure.code?.text == "53100")
        }
      }
      try await database.script("DELETE FROM full_disk")
      try await daemon.caughtUp()
      for (shard, table) in [("Sum:All", "sum"), ("Each:All", "each")] {
        #expect(try await database.letters(shard) == [])
        #expect(try await database.value("SELECT count(*) FROM \(identifier: table)", as: Int.self) == 3)
      }
    }
  }

  @Test func `whose letter has no table moves no position`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    let config = try Program.settings(database.conninfo, Numbers.batch)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.script("ALTER TABLE tidemark.dead_letter RENAME TO hidden")
      try await database.append(type: "n", count: 1, data: #"{"n": "1"}"#)
      try await database.append(type: "n", count: 1, data: #"{"n": "bad"}"#)
      let failure = try await daemon.observed.first("it stops") { $0.when(.shardStopped)?.failure }
      #expect(failure.code?.text == "42P01")
      try await database.script("ALTER TABLE tidemark.hidden RENAME TO dead_letter")
      let applied = try await database.value("SELECT count(*) FROM sum", as: Int64.self)
      #expect(try await database.position("Sum:All") == applied)
      #expect(try await Program.run(["start", "Sum", "-c", config]).code == 0)
      try await daemon.caughtUp()
      #expect(try await database.letters("Sum:All") == ["2 22P02"])
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 1)
    }
  }
}

/// The projections of ``Numbers``, which look at each number with `check_n`.
private enum Checked {
  static let batch = Numbers.batch.replacing("(data->>'n')::int", with: "check_n(data->>'n')")
  static let perEvent = Numbers.perEvent.replacing("(:data->>'n')::int", with: "check_n(:data->>'n')")
  static let both = batch + perEvent
}

extension TestDatabase {
  /// A function that is given each number.
  fileprivate func checking(_ body: String) async throws {
    try await script(
      "CREATE FUNCTION check_n(v text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN \(body); RETURN 1; END $$")
  }

  /// Each with its SQLSTATE.
  fileprivate func letters(_ shard: String) async throws -> [String] {
    try await connected { session in
      try await session.execute(
        "SELECT concat_ws(' ', seq_id, sqlstate) FROM tidemark.dead_letter WHERE shard = \(shard) ORDER BY seq_id"
      ).rows.map { try $0.get(0, as: String.self) }
    }
  }
}
