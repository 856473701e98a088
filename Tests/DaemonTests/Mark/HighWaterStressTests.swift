import Books
import Daemon
import EventStore
import Glibc
import Postgres
import Processes
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
import Testing

/// A read model that has every sequence it was given, once.
private let everything = """
  [projections.All]
  tables = ["seen"]
  setup = "CREATE TABLE seen (seq bigint PRIMARY KEY)"
  sql = "INSERT INTO seen SELECT seq_id FROM batch"
  """

@Suite(.gated) struct `The high-water mark on a real server` {
  /// Writers that draw early, commit late, roll back to savepoints, prepare transactions, and are killed.
  @Test func `loses no event of quick writers, whatever they do`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(everything)
    try await withDaemon(settings) { daemon in
      let seed = walkSeed()
      print("rough writers: TIDEMARK_SEED=\(seed)")
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<6 {
          group.addTask {
            try await RoughWriter(seed: seed &+ UInt64(number), isRich: false).run(database, transactions: 120)
          }
        }
        try await group.waitForAll()
      }
      try await daemon.caughtUp(within: .seconds(60))
      let events = try await database.value("SELECT count(*) FROM mt_events", as: Int.self)
      #expect(events > 600)
      #expect(try await database.lost() == 0, "TIDEMARK_SEED=\(seed)")
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == events, "TIDEMARK_SEED=\(seed)")
      #expect(try await database.value("SELECT count(*) FROM tidemark.gap", as: Int.self) == 0, "every gap was proven")
    }
  }

  @Test func `loses no event of rich writers that stay within the grace`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(everything, eventStore: "append = \"rich\"\ngap_grace = \"1s\"")
    try await withDaemon(settings) { daemon in
      let seed = walkSeed()
      print("rough writers: TIDEMARK_SEED=\(seed)")
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<6 {
          group.addTask {
            try await RoughWriter(seed: seed &+ UInt64(number), isRich: true).run(database, transactions: 60)
          }
        }
        try await group.waitForAll()
      }
      try await daemon.caughtUp(within: .seconds(60))
      #expect(try await database.value("SELECT count(*) FROM mt_events", as: Int.self) > 300)
      #expect(try await database.lost() == 0, "TIDEMARK_SEED=\(seed)")
      #expect(
        try await database.value("SELECT count(*) FROM tidemark.gap", as: Int.self) > 0,
        "killed writers left gaps on record")
      #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
    }
  }

  @Test func `loses no event of writers on a cached sequence`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(everything, eventStore: "append = \"quick\"\ngap_grace = \"1s\"")
    try await database.script("ALTER SEQUENCE mt_events_sequence CACHE 32")
    try await withDaemon(settings) { daemon in
      // Short-lived sessions, as the proof needs: a cached number is used within the grace or never.
      for round in 0..<10 { _ = try await database.write(writers: 3, transactions: 5, seed: UInt64(round * 7)) }
      try await daemon.caughtUp(within: .seconds(60))
      #expect(try await database.lost() == 0)
      _ = try await daemon.observed.first("a warning of the cache") {
        if $0.fact == .sequenceCached, $0[.cache] == 32 { true } else { nil }
      }
    }
  }

  @Test func `waits for a number in flight, with everything above it`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(everything)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let early = try await Session.connect(database.options)
      try await early.script("BEGIN; SELECT nextval('mt_events_sequence')")
      try await database.append(type: "x", count: 3)
      try await daemon.ticked(times: 5)
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 0)
      try await early.script(
        "INSERT INTO mt_streams (id) VALUES ('00000000-0000-4000-8000-000000000001'); INSERT INTO mt_events (seq_id, id, stream_id, version, data, type) SELECT 1, gen_random_uuid(), id, 1, '{}', 'x' FROM mt_streams WHERE id = '00000000-0000-4000-8000-000000000001'; COMMIT"
      )
      await early.close()
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 4)
    }
  }

  @Test func `is held by a number in flight, and says by whom`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(everything)
    let early = try await Session.connect(database.options)
    try await early.script("SET application_name = 'slow importer'; BEGIN; SELECT nextval('mt_events_sequence')")
    try await database.append(type: "x", count: 3)
    let started = ContinuousClock.now
    try await withDaemon(settings) { daemon in
      let by = try await daemon.observed.first(within: .seconds(40), "who holds the mark") { observation -> [String]? in
        if observation.fact == .markHeld, observation[.mark] == 0, let by = observation[.holders] { by } else { nil }
      }
      #expect(ContinuousClock.now - started > .seconds(9))
      #expect(by.count == 1 && by[0].contains("slow importer") && by[0].contains("pid \(early.processID)"), "\(by)")
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 0)
      await early.close()
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 3)
      _ = try await daemon.observed.first("it is released") { $0.when(.markReleased) }
    }
  }

  /// A process that draws a number, and is killed before it can commit or say goodbye.
  @Test func `passes the number of a writer that is killed with SIGKILL`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(everything)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let writer = try await Launch("psql", ["-qXAt", "-d", database.conninfo], input: .pipe).start()
      try await writer.input?.write(
        Array("BEGIN; SELECT seq_id FROM tidemark.append(gen_random_uuid(), '[{\"type\":\"x\",\"data\":{}}]');\n".utf8))
      #expect(try await writer.output?.read() == Array("1\n".utf8))
      try await database.append(type: "x", count: 2)
      try await daemon.ticked(times: 5)
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 0)
      #expect(await writer.kill() == .signaled(SIGKILL))
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT array_agg(seq ORDER BY seq)::text FROM seen") == "{2,3}")
      #expect(try await database.value("SELECT count(*) FROM tidemark.gap", as: Int.self) == 0, "it was proven")
    }
  }

  @Test func `waits for a prepared transaction, over a restart of the daemon too`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(everything)
    try await database.script(
      "BEGIN; SELECT tidemark.append(gen_random_uuid(), '[{\"type\":\"x\",\"data\":{}}]'); PREPARE TRANSACTION 'held \(database.name)'"
    )
    try await database.append(type: "x", count: 2)
    for _ in 0..<2 {
      try await withDaemon(settings) { daemon in
        _ = try await daemon.observed.first("the shard started") { $0.when(.shardStarted) }
        try await daemon.ticked(times: 5)
        #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 0)
      }
    }
    try await withDaemon(settings) { daemon in
      try await database.script("COMMIT PREPARED 'held \(database.name)'")
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 3)
    }
  }

  @Test func `is not held by sessions that have nothing to do with events`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(everything)
    let other = try await TestDatabase.make()
    _ = try await other.install(everything)
    let idle = try await Session.connect(database.options)
    try await idle.script(
      "CREATE TABLE elsewhere (n int); BEGIN; INSERT INTO elsewhere VALUES (1); SELECT count(*) FROM mt_events")
    let reader = try await Session.connect(database.options)
    try await reader.script("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM mt_events")
    let foreign = try await Session.connect(other.options)
    try await foreign.script("BEGIN; SELECT nextval('mt_events_sequence')")
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 3)
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 3)
    }
    for session in [idle, reader, foreign] { await session.close() }
  }

  @Test func `keeps an event that arrives after its gap was passed as a dead letter`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      everything, eventStore: "append = \"rich\"\ngap_grace = \"200ms\"")
    try await withDaemon(settings) { daemon in
      try await database.script("SELECT nextval('mt_events_sequence')")
      try await database.append(type: "x", count: 2)
      try await daemon.caughtUp()
      let passed = try await daemon.observed.first("the gap is passed") { $0.when(.gapsPassed) }
      #expect(passed[.first] == 1 && passed[.last] == 1 && passed[.numbers] == 1)
      #expect(passed[.gapReason] == .grace)
      try await database.insert(sequence: 1)
      let late = try await daemon.observed.first("the late arrival is told") { $0.when(.lateArrival)?[.sequence] }
      #expect(late == 1)
      #expect(
        try await database.value("SELECT shard || ' ' || seq_id || ' ' || class FROM tidemark.dead_letter")
          == "All:All 1 late_arrival")
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 2)
    }
  }

  @Test func `says who held the numbers it stepped over`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      everything, eventStore: "append = \"quick\"\non_long_hold = { after = \"1s\", do = \"skip\" }")
    let holder = try await Session.connect(database.options)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await holder.script("SET application_name = 'nightly import'; BEGIN; SELECT nextval('mt_events_sequence')")
      try await database.append(type: "x", count: 2)
      try await daemon.caughtUp()
      #expect(
        try await database.value(
          "SELECT reason || ': ' || (held_by LIKE 'pid % (nightly import, %')::text FROM tidemark.gap")
          == "long hold: true")
    }
    await holder.close()
  }

  @Test func `gives a late arrival to a shard that has not passed it yet, and to no dead letter`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(everything, eventStore: "append = \"rich\"\ngap_grace = \"200ms\"")
    try await database.script("SELECT nextval('mt_events_sequence')")
    try await database.append(type: "x", count: 2)
    // The gap is on record, and nobody has applied anything: as after another node passed it.
    try await database.script("INSERT INTO tidemark.gap (first_seq_id, last_seq_id, reason) VALUES (1, 1, 'grace')")
    try await database.insert(sequence: 1)
    try await database.script("INSERT INTO mt_event_progression VALUES ('All:All', 0)")
    let marks = MarkTable(try await database.connected { try await StoreShape.read($0, schema: "public") })
    try await database.connected { session in
      let arrivals = try await marks.lateArrivals(within: .seconds(60), session)
      #expect(arrivals.map(\.sequence) == [1])
      let kept = try await marks.keep(
        arrivals, takers: [MarkTable.Taker(shard: "All:All", types: nil)], node: "test", session)
      #expect(kept.map(\.shards) == [[]])
    }
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 3)
      #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
    }
  }

  @Test func `is not trusted when the sequence was reset`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(everything)
    try await database.append(type: "x", count: 5)
    try await withDaemon(settings) { try await $0.caughtUp() }
    try await database.script("SELECT setval('mt_events_sequence', 2)")
    try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.first("a refusal") { $0.when(.markRefused)?.failure }
      #expect(
        failure.code == .store(.sequenceReset) && failure.message.contains("is at 2")
          && failure.message.contains("mark 5"))
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 5)
      try await database.script("SELECT setval('mt_events_sequence', 5)")
      try await database.append(type: "x", count: 1)
      try await daemon.caughtUp(within: .seconds(60))
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 6)
    }
  }
}

/// A writer that does to its transactions what the proof has to stand.
private struct RoughWriter: Sendable {
  var seed: UInt64
  var isRich: Bool

  func run(_ database: TestDatabase, transactions: Int) async throws {
    var random = SplitMix(seed: seed)
    var session = try await Session.connect(database.options)
    for round in 0..<transactions {
      do {
        if isRich { try await rich(session, &random) } else { try await quick(session, database, round, &random) }
      } catch let error as PostgresError where error.isConnectionLoss {
        session = try await Session.connect(database.options)
      }
    }
    await session.close()
  }

  private func quick(_ session: Session, _ database: TestDatabase, _ round: Int, _ random: inout SplitMix) async throws
  {
    let append: SQL =
      "SELECT tidemark.append(\(random.uuid())::uuid, '[{\"type\":\"x\",\"data\":{}},{\"type\":\"x\",\"data\":{}}]')"
    let dice = Int.random(in: 0..<100, using: &random)
    let pause = Duration.milliseconds(Int.random(in: 0...30, using: &random))
    try await session.script("BEGIN")
    switch dice {
    case 0..<10:  // Numbers first, and long before their rows.
      let number = try await session.execute("SELECT nextval('mt_events_sequence') AS n").rows[0].get(
        "n", as: Int64.self)
      try await Task.sleep(for: pause)
      try await insert(session, [number], random.uuid())
    case 10..<20:  // A savepoint whose numbers die.
      try await session.script("SAVEPOINT a")
      try await session.execute(append)
      try await session.script("ROLLBACK TO SAVEPOINT a")
      try await Task.sleep(for: pause)
      try await session.execute(append)
    case 20..<30:
      try await session.execute(append)
      try await session.script("ROLLBACK")
      return
    case 30..<35:  // Killed in the middle.
      try await session.execute(append)
      try await database.script("SELECT pg_terminate_backend(\(session.processID))")
      try await session.script("COMMIT")
      return
    case 35..<40:
      let name = "p \(seed) \(round)"
      try await session.execute(append)
      try await session.script("PREPARE TRANSACTION '\(name)'")
      try await Task.sleep(for: pause)
      try await session.script(dice < 38 ? "COMMIT PREPARED '\(name)'" : "ROLLBACK PREPARED '\(name)'")
      return
    case 40..<60:
      try await session.execute(append)
      try await Task.sleep(for: pause)
    default:
      try await session.execute(append)
    }
    try await session.script("COMMIT")
  }

  /// Draws in one transaction, inserts in another, as Marten's Rich append does; now and then never inserts.
  private func rich(_ session: Session, _ random: inout SplitMix) async throws {
    let rows = try await session.execute("SELECT nextval('mt_events_sequence') AS n FROM generate_series(1, 3)").rows
    let numbers = try rows.map { try $0.get("n", as: Int64.self) }
    try await Task.sleep(for: .milliseconds(Int.random(in: 0...100, using: &random)))
    guard Int.random(in: 0..<10, using: &random) > 0 else { return }
    try await session.script("BEGIN")
    try await insert(session, numbers, random.uuid())
    try await Task.sleep(for: .milliseconds(Int.random(in: 0...200, using: &random)))
    try await session.script("COMMIT")
  }

  private func insert(_ session: Session, _ numbers: [Int64], _ stream: String) async throws {
    try await session.execute("INSERT INTO mt_streams (id) VALUES (\(stream)::uuid)")
    for (index, number) in numbers.enumerated() {
      try await session.execute(
        "INSERT INTO mt_events (seq_id, id, stream_id, version, data, type) VALUES (\(number), gen_random_uuid(), \(stream)::uuid, \(index + 1)::bigint, '{}', 'x')"
      )
    }
  }
}

extension TestDatabase {
  /// Committed events at or below the shard's position that the read model does not have.
  fileprivate func lost() async throws -> Int {
    try await value("SELECT count(*) FROM mt_events e WHERE NOT EXISTS (SELECT FROM seen s WHERE s.seq = e.seq_id)")
  }
}
