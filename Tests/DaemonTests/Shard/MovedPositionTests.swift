import Books
import Daemon
import EventStore
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

/// A host that rebuilds its own projection of the same name takes no lock: it deletes the row, and writes it anew in steps.
@Suite(.gated) struct `A position that another program writes` {
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

  private func legs(_ database: TestDatabase) async throws -> String {
    try await database.value("SELECT coalesce(string_agg(legs::text, ' ' ORDER BY legs), '') FROM trip")
  }

  private func verb(_ words: String..., on database: TestDatabase) async throws -> Program.Outcome {
    try await Program.run(words + ["-c", try Program.settings(database.conninfo, Self.trip)])
  }

  /// A daemon has applied seven events of two streams, and perhaps more of a third, and no longer runs.
  private func followed(more: Int = 0) async throws -> (TestDatabase, Settings) {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.trip)
    try await database.append(type: "travel", count: 3)
    try await database.append(type: "travel", count: 4)
    if more > 0 { try await database.append(type: "travel", count: more) }
    try await database.follow(settings)
    return (database, settings)
  }

  private static func move(to position: Int) -> String {
    "UPDATE mt_event_progression SET last_seq_id = \(position) WHERE name = 'Trip:All'"
  }

  private func refusal(_ daemon: RunningDaemon) async throws -> Problem {
    try await daemon.observed.first("the shard waits") { $0.when(.shardMoved)?.failure }
  }

  @Test(arguments: [2, 8])
  func `is not continued from, whichever way it was moved, nor after a restart`(position: Int) async throws {
    let (database, settings) = try await followed()
    try await database.append(type: "travel", count: 2)
    try await database.script(Self.move(to: position))
    for _ in 1...2 {
      try await withDaemon(settings) { daemon in
        let problem = try await refusal(daemon)
        #expect(problem.message.contains("is at \(position), and Tidemark left it at 7"), "\(problem)")
        try await eventually("status says what to do") {
          try await database.value(
            "SELECT count(*) FROM tidemark.shard WHERE condition = 'paused' AND reason LIKE '%--from-record%'",
            as: Int.self) == 1
        }
      }
    }
    #expect(try await legs(database) == "3 4")
    let check = try await verb("check", on: database)
    #expect(check.code == 1 && check.error.contains("TM218"), "\(check)")
  }

  @Test func `is noticed while the shard follows, and the record leads back`() async throws {
    let (database, settings) = try await followed()
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      // A rebuild of a host, in two steps, with an event between.
      try await database.script("DELETE FROM mt_event_progression WHERE name = 'Trip:All'")
      try await database.append(type: "travel", count: 1)
      try await database.script("INSERT INTO mt_event_progression (name, last_seq_id) VALUES ('Trip:All', 5)")
      _ = try await refusal(daemon)
      #expect(try await legs(database) == "3 4")
      let started = try await verb("start", "Trip", "--from-record", on: database)
      #expect(
        started.code == 0 && started.output.contains("Trip:All continues at 7, where Tidemark left it"), "\(started)")
      try await daemon.caughtUp()
      #expect(try await legs(database) == "1 3 4")
    }
  }

  @Test func `is obeyed when the operator says so, with the letters above it`() async throws {
    let (database, settings) = try await followed()
    try await database.script(
      """
      \(Self.move(to: 3)); DELETE FROM trip WHERE legs = 4;
      INSERT INTO tidemark.dead_letter (shard, seq_id, class, message) VALUES ('Trip:All', 5, 'event', 'a test')
      """)
    let started = try await verb("start", "Trip", "--from-here", on: database)
    #expect(started.code == 0 && started.output.contains("Trip:All continues at 3"), "\(started)")
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(daemon.observed.all.contains { $0.fact == .deadLettersRemoved })
    }
    #expect(try await legs(database) == "3 4")
  }

  @Test(arguments: [
    "UPDATE mt_event_progression SET last_seq_id = 5 WHERE name = 'Trip:All'", "DELETE FROM mt_event_progression",
  ])
  func `does not keep a rebuild from bringing tables and position together`(move: String) async throws {
    let (database, settings) = try await followed()
    try await database.script(move)
    let part = try await verb(
      "rebuild", "Trip", "--here", "--stream", try await database.value("SELECT stream::text FROM trip LIMIT 1"),
      on: database)
    #expect(part.code != 0 && part.error.contains("does not say which events its tables contain"), "\(part)")
    let rebuilt = try await verb("rebuild", "Trip", "--here", "--fewer-rows", on: database)
    #expect(rebuilt.code == 0, "\(rebuilt)")
    try await withDaemon(settings) { try await $0.caughtUp() }
    #expect(try await legs(database) == "3 4")
  }

  @Test func `keeps a rebuild away while another program leads the shard`() async throws {
    let (database, _) = try await followed()
    let host = try await Session.connect(database.options)
    try await host.script(
      "SET application_name = 'the host'; SELECT pg_advisory_lock(\(LeaderLock.key(schema: "public", shard: "Trip:All")))"
    )
    let rebuilt = try await verb("rebuild", "Trip", "--here", on: database)
    #expect(
      rebuilt.code != 0 && rebuilt.error.contains("another program leads Trip:All")
        && rebuilt.error.contains("the host"), "\(rebuilt)")
    let status = try await verb("status", on: database)
    #expect(status.output.contains(/Trip:All: another program leads it: pid \d+ \(the host/), "\(status)")
    await host.close()
    let again = try await verb("rebuild", "Trip", "--here", on: database)
    #expect(again.code == 0, "\(again)")
  }

  /// No node of ours would take the rebuild up, since none leads the shard.
  @Test func `makes the request of a rebuild fail at once while another program leads the shard`() async throws {
    let (database, _) = try await followed()
    var settings = try database.settings(Self.trip)
    settings.mode = .hotcold
    let host = try await Session.connect(database.options)
    try await host.script("SELECT pg_advisory_lock(\(LeaderLock.key(schema: "public", shard: "Trip:All")))")
    try await withDaemon(settings) { _ in
      try await eventually("a node follows the store") {
        try await database.value("SELECT EXISTS (SELECT FROM tidemark.node)")
      }
      let rebuilt = try await verb("rebuild", "Trip", on: database)
      #expect(rebuilt.code != 0 && rebuilt.error.contains("another program leads Trip:All"), "\(rebuilt)")
      await host.close()
      try await eventually("the node leads the shard") {
        try await database.value("SELECT EXISTS (SELECT FROM tidemark.shard WHERE condition = 'following')")
      }
      let again = try await verb("rebuild", "Trip", on: database)
      #expect(again.code == 0, "\(again)")
      let status = try await verb("status", on: database)
      #expect(!status.output.contains("another program leads"), "a node of ours: \(status)")
    }
  }

  @Test(arguments: [move(to: 3), "DELETE FROM mt_event_progression WHERE name = 'Trip:All'"])
  func `ends a rebuild during which it is written`(move: String) async throws {
    // So many that its first pages do not make the live shard wait.
    let (database, _) = try await followed(more: 1500)
    let gated = Self.trip.replacing(
      "FROM batch", with: "FROM batch, (SELECT pg_advisory_xact_lock_shared(77)) AS gate")
    let config = try Program.settings(database.conninfo, gated)
    let gate = try await Session.connect(database.options)
    try await gate.script("SELECT pg_advisory_lock(77)")
    let rebuilding = Task { try await Program.run(["rebuild", "Trip", "--here", "-c", config]) }
    try await eventually("the rebuild is in its first page") {
      try await database.value(
        """
        SELECT EXISTS (SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
                        WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objid = 77 AND NOT l.granted)
        """)
    }
    try await database.script(move)
    await gate.close()
    let rebuilt = try await rebuilding.value
    #expect(rebuilt.code != 0 && rebuilt.error.contains("another program"), "\(rebuilt)")
    #expect(try await legs(database) == "3 4 1500")
  }
}
