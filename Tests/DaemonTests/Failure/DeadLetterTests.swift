import Books
import Daemon
import EventStore
import Postgres
import Rules
import Telemetry
import TestSupport
import Testing

/// Dead letters where the position, the declaration or the letters themselves change.
@Suite(.gated) struct `A dead letter` {
  /// Ten events of one stream, of which the fifth is bad, and their dead letter.
  private func store(_ projection: String) async throws -> TestDatabase {
    let database = try await TestDatabase.make()
    let settings = try await database.install(projection)
    try await database.script(
      """
      INSERT INTO mt_streams (id, version) VALUES (md5('s')::uuid, 0);
      INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
      SELECT nextval('mt_events_sequence'), gen_random_uuid(), md5('s')::uuid, i,
             jsonb_build_object('n', CASE i WHEN 5 THEN 'bad' ELSE i::text END), 'n'
        FROM generate_series(1, 10) AS i
      """)
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    return database
  }

  private func letters(_ database: TestDatabase) async throws -> String? {
    try await database.value("SELECT string_agg(seq_id::text, ' ' ORDER BY seq_id) FROM tidemark.dead_letter")
  }

  private static let parking = Numbers.batch.replacing(
    "events = [\"n\"]", with: "events = [\"n\"]\non_poison = \"park-stream\"")

  @Test(arguments: [
    (
      "UPDATE mt_event_progression SET last_seq_id = 3 WHERE name = 'Sum:All'; UPDATE tidemark.position SET last_seq_id = 3",
      3
    ),
    ("DELETE FROM mt_event_progression WHERE name = 'Sum:All'", 0),
  ])
  func `above a position that was set back is removed, and only then`(setBack: String, position: Int64) async throws {
    let database = try await store(Numbers.batch)
    let settings = try database.settings(Numbers.batch)
    try await withDaemon(settings) { daemon in
      try await database.append(type: "n", count: 1, data: #"{"n": "11"}"#)
      try await daemon.caughtUp()
      #expect(!daemon.observed.all.contains { $0.fact == .deadLettersRemoved })
    }
    #expect(try await letters(database) == "5")
    try await database.script(
      "\(setBack); DELETE FROM sum WHERE seq > \(position); UPDATE mt_events SET data = '{\"n\": \"5\"}' WHERE seq_id = 5"
    )
    try await withDaemon(settings) { daemon in
      let told = try await daemon.observed.first("it says so") { observation -> (Int64, Int)? in
        if observation.fact == .deadLettersRemoved, let position = observation[.position],
          let count = observation[.count]
        {
          (position, count)
        } else {
          nil
        }
      }
      #expect(told == (position, 1))
      try await daemon.caughtUp()
      #expect(try await letters(database) == nil)
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 11)
    }
  }

  @Test func `that parks its stream hides no earlier event when the position was set back`() async throws {
    let database = try await store(Self.parking)
    #expect(try await letters(database) == "5 6 7 8 9 10")
    try await database.script(
      "UPDATE mt_event_progression SET last_seq_id = 0 WHERE name = 'Sum:All'; UPDATE tidemark.position SET last_seq_id = 0; DELETE FROM sum"
    )
    try await withDaemon(try database.settings(Self.parking)) { daemon in
      try await daemon.caughtUp()
      #expect(try await letters(database) == "5 6 7 8 9 10")
      #expect(
        try await database.value("SELECT string_agg(seq::text, ' ' ORDER BY seq) FROM sum", as: String?.self)
          == "1 2 3 4")
    }
  }

  /// A node that keeps a late arrival holds the position's lock too.
  @Test func `that is written while a shard begins stays`() async throws {
    let database = try await store(Numbers.batch)
    let shape = try await database.connected { try await StoreShape.read($0, schema: "public") }
    let keeper = try await Session.connect(database.options)
    try await keeper.script(
      """
      BEGIN; UPDATE mt_event_progression SET last_seq_id = 20 WHERE name = 'Sum:All'; UPDATE tidemark.position SET last_seq_id = 20;
      INSERT INTO tidemark.dead_letter (shard, seq_id, class, message) VALUES ('Sum:All', 20, 'event', 'a test')
      """)
    let beginning = Task {
      try await database.connected { session in
        let begun = try await Positions(shape).begin("Sum:All", session)
        return [begun?.position, begun.map { Int64($0.removedLetters) }]
      }
    }
    try await eventually("it waits for the position") {
      try await database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        as: Int.self) == 1
    }
    try await keeper.script("COMMIT")
    #expect(try await beginning.value == [20, 0])
    #expect(try await letters(database) == "5 20")
    await keeper.close()
  }

  @Test func `of a type that the projection takes no longer is not applied`() async throws {
    let database = try await store(Numbers.batch)
    try await database.script("UPDATE mt_events SET data = '{\"n\": \"5\"}' WHERE seq_id = 5")
    let config = try Program.settings(
      database.conninfo, Numbers.batch.replacing("events = [\"n\"]", with: "events = [\"m\"]"))
    let replayed = try await Program.run(["dead-letters", "replay", "--yes", "-c", config])
    #expect(replayed.code == 1 && replayed.error.contains("has no statement for it; use `discard`"), "\(replayed)")
    #expect(try await letters(database) == "5")
    #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 9)
  }

  @Test func `is found by the name of its projection, whatever the version`() async throws {
    let second = Numbers.batch.replacing("events =", with: "version = 2\nevents =")
    let database = try await store(second)
    let config = try Program.settings(database.conninfo, second)
    func list(_ shard: String) async throws -> String {
      try await Program.run(["dead-letters", "list", "--shard", shard, "-c", config]).output
    }
    #expect(try await list("Sum").contains("Sum:V2:All"))
    #expect(try await list("Sum:V2:All").contains("Sum:V2:All"))
    #expect(try await list("Sum:All") == "no dead letters\n")
    // One that is not declared any more.
    try await database.script("UPDATE tidemark.dead_letter SET shard = 'Gone:All'")
    #expect(try await list("Gone").contains("Gone:All"))
    let discarded = try await Program.run(["dead-letters", "discard", "--yes", "--json", "-c", config])
    #expect(discarded.output.filter { !$0.isWhitespace } == #"{"discarded":1}"#)
  }

  @Test func `that nobody was asked about is not discarded`() async throws {
    let database = try await store(Self.parking)
    try await database.connected { session in
      let letters = DeadLetters(try await StoreShape.read(session, schema: "public"))
      try await session.script("DELETE FROM tidemark.dead_letter WHERE seq_id = 7")
      let keys = try await letters.keys(DeadLetters.Filter(), session)
      #expect(keys.count == 5)
      try await session.script(
        "INSERT INTO tidemark.dead_letter (shard, seq_id, class, message) VALUES ('Sum:All', 7, 'parked', 'a test')")
      #expect(try await letters.discard(keys, session) == 5)
    }
    #expect(try await letters(database) == "7")
  }
}
