import Books
import Daemon
import EventStore
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

/// A host deletes all event data, and its sequence begins at 1 again: the same numbers belong to other events.
@Suite(.gated) struct `A store that begins anew` {
  private static let trip = #"""
    [projections.Trip]
    events = ["travel"]
    tables = ["trip"]
    key = "stream"
    setup = "CREATE TABLE trip (stream uuid PRIMARY KEY, legs bigint NOT NULL)"
    sql = '''
    INSERT INTO trip AS t (stream, legs) SELECT stream_id, count(*) FROM batch GROUP BY 1
    ON CONFLICT (stream) DO UPDATE SET legs = t.legs + excluded.legs
    '''

    """#

  /// As the host's cleaner does it, and by hand.
  enum Reset: String, Sendable, CaseIterable {
    case host =
      "TRUNCATE mt_events, mt_streams CASCADE; DELETE FROM mt_event_progression; ALTER SEQUENCE mt_events_sequence RESTART WITH 1"
    case hand = "TRUNCATE mt_events, mt_streams CASCADE; ALTER SEQUENCE mt_events_sequence RESTART WITH 1"
    case rows = "DELETE FROM mt_events; DELETE FROM mt_streams; SELECT setval('mt_events_sequence', 1, false)"
  }

  private func legs(_ database: TestDatabase) async throws -> String {
    try await database.value("SELECT coalesce(string_agg(legs::text, ' ' ORDER BY legs), '') FROM trip")
  }

  private func verb(_ words: String..., on database: TestDatabase) async throws -> Program.Outcome {
    try await Program.run(words + ["-c", try Program.settings(database.conninfo, Self.trip)])
  }

  private func followed() async throws -> (TestDatabase, Settings) {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.trip)
    for _ in 1...4 { try await database.append(type: "travel", count: 3) }
    try await database.follow(settings)
    #expect(try await database.value("SELECT mark FROM tidemark.high_water", as: Int64.self) == 12)
    return (database, settings)
  }

  private func refusal(_ daemon: RunningDaemon) async throws -> Problem {
    try await daemon.observed.first("the shard waits") { $0.when(.shardMismatched)?.failure }
  }

  /// The host was faster than the next look: the sequence has passed the old mark.
  @Test(arguments: Reset.allCases)
  func `proves nothing by its old mark`(reset: Reset) async throws {
    let (database, settings) = try await followed()
    try await database.script(
      """
      INSERT INTO tidemark.gap (first_seq_id, last_seq_id, reason) VALUES (5, 5, 'grace');
      INSERT INTO tidemark.dead_letter (shard, seq_id, class, message) VALUES ('Trip:All', 6, 'event', 'a test')
      """)
    try await database.script("BEGIN; \(reset.rawValue); COMMIT; TRUNCATE trip")
    for _ in 1...2 { try await database.append(type: "travel", count: 2) }
    let slow = try await Session.connect(database.options)
    try await slow.script(#"BEGIN; SELECT tidemark.append(gen_random_uuid(), '[{"type": "travel", "data": {}}]')"#)
    for _ in 1...5 { try await database.append(type: "travel", count: 2) }
    try await withDaemon(settings) { daemon in
      let begun = try await daemon.observed.first("the era is told") { $0.when(.eraBegan)?.failure }
      #expect(begun.code == .store(.sequenceReset) && begun.message.contains("1 dead letter"), "\(begun)")
      try await eventually("what is proven is applied") { try await database.position("Trip:All") == 4 }
      try await daemon.ticked(times: 3)
      #expect(try await database.position("Trip:All") == 4, "number 5 is still in flight")
      try await slow.script("COMMIT")
      await slow.close()
      try await daemon.caughtUp()
    }
    #expect(try await legs(database) == "1 2 2 2 2 2 2 2")
    #expect(
      try await database.value(
        "SELECT (SELECT count(*) FROM tidemark.gap) || ' ' || (SELECT count(*) FROM tidemark.dead_letter) || ' ' || (SELECT string_agg(era || ':' || seq_id, ' ') FROM tidemark.former_letter)"
      ) == "0 0 1:6")
  }

  @Test(arguments: Reset.allCases)
  func `makes a shard wait whose tables have rows, across restarts, until they are rebuilt`(reset: Reset) async throws {
    let (database, settings) = try await followed()
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.script("BEGIN; \(reset.rawValue); COMMIT")
      _ = try await daemon.observed.first("the era is told") { $0.when(.eraBegan) }
      let problem = try await refusal(daemon)
      #expect(problem.message.contains("began anew, and its table trip has rows"), "\(problem)")
      for _ in 1...8 { try await database.append(type: "travel", count: 2) }
      try await daemon.ticked(times: 3)
      #expect(try await legs(database) == "3 3 3 3")
    }
    try await withDaemon(settings) { daemon in
      _ = try await refusal(daemon)
      try await eventually("the new mark is saved") {
        try await database.value("SELECT mark FROM tidemark.high_water", as: Int64.self) == 16
      }
      let rebuilt = try await verb("rebuild", "Trip", on: database)
      #expect(rebuilt.code == 0, "\(rebuilt)")
      try await database.append(type: "travel", count: 1)
      try await daemon.caughtUp()
    }
    #expect(try await legs(database) == "1 2 2 2 2 2 2 2 2")
  }

  @Test func `lets a shard add to its rows when the operator says so`() async throws {
    let (database, settings) = try await followed()
    try await database.script("BEGIN; \(Reset.host.rawValue); COMMIT")
    try await database.append(type: "travel", count: 2)
    try await withDaemon(settings) { daemon in
      _ = try await refusal(daemon)
      let started = try await verb("start", "Trip", "--from-here", on: database)
      #expect(started.code == 0 && started.output.contains("first event of the new numbers"), "\(started)")
      try await daemon.caughtUp()
    }
    #expect(try await legs(database) == "2 3 3 3 3")
  }

  @Test func `is not one whose newest events were removed, or whose positions were`() async throws {
    let (database, settings) = try await followed()
    try await database.script("DELETE FROM mt_events WHERE seq_id > 8")
    try await withDaemon(settings) { daemon in
      try await database.append(type: "travel", count: 1)
      try await daemon.caughtUp()
      #expect(!daemon.observed.all.contains { $0.fact == .eraBegan })
    }
    try await database.script("DELETE FROM mt_event_progression WHERE name = 'HighWaterMark'")
    try await withDaemon(settings) { daemon in
      try await database.append(type: "travel", count: 1)
      try await daemon.caughtUp()
      #expect(!daemon.observed.all.contains { $0.fact == .eraBegan })
    }
    #expect(try await legs(database) == "1 1 3 3 3 3")
  }

  /// Those who compare looks at numbers compare only looks of one era.
  @Test(arguments: Reset.allCases) func `is of no era until the mark has begun one`(reset: Reset) async throws {
    let (database, _) = try await followed()
    try await database.connected { session in
      let eras = EraTable(try await StoreShape.read(session, schema: "public"))
      #expect(try await eras.current(session) == 1)
      try await database.script("BEGIN; \(reset.rawValue); COMMIT")
      for _ in 1...4 { try await database.append(type: "travel", count: 5) }
      #expect(try await eras.current(session) == nil)
      let entered = try await eras.enter(session)
      #expect(entered.number == 2 && entered.begun?.reason.isEmpty == false, "\(entered)")
      #expect(try await eras.current(session) == 2)
      let again = try await eras.enter(session)
      #expect(again.number == 2 && again.begun == nil, "another node finds it begun: \(again)")
    }
  }

  @Test func `has the rows replaced where the settings say so`() async throws {
    let (database, followed) = try await followed()
    var settings = followed
    settings.eventStore.onReset = .rebuild
    try await database.script("BEGIN; \(Reset.hand.rawValue); COMMIT")
    try await database.append(type: "travel", count: 2)
    try await withDaemon(settings) { daemon in
      try await eventually(within: .seconds(60), "the rows are those of the new events") {
        try await legs(database) == "2"
      }
      try await database.append(type: "travel", count: 1)
      try await daemon.caughtUp()
    }
    #expect(try await legs(database) == "1 2")
  }

  /// The feed of plugins keeps what it has read for others at the same position.
  @Test func `gives plugins its new events, and none of those that were read before`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for event in events: note("events", "%d %s" % (event["seq_id"], event["data"].get("era")))
          return applied(page)
      """)
    let settings = try await database.install(
      ["One", "Two"].map { "[projections.\($0)]\nexec = [\"\(plugin)\"]\non_mismatch = \"continue\"\n" }.joined())
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 4, data: "{\"era\": 1}")
      try await daemon.caughtUp()
      try await eventually("the mark is on record") {
        try await database.value("SELECT mark = 4 FROM tidemark.high_water")
      }
      try await database.script("BEGIN; \(Reset.host.rawValue); COMMIT")
      for _ in 1...3 { try await database.append(type: "x", count: 2, data: "{\"era\": 2}") }
      _ = try await daemon.observed.first("the era is told") { $0.when(.eraBegan)?.failure }
      try await eventually("the new events were handed over") {
        programs.lines("events").filter { $0.hasSuffix(" 2") }.count >= 12
      }
    }
    let seen = programs.lines("events")
    for number in 1...6 { #expect(seen.filter { $0 == "\(number) 2" }.count >= 2, "\(seen)") }
    #expect(!seen.contains("5 1") && !seen.contains("6 1"))
  }
}
