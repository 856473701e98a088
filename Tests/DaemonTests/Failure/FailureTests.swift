import Daemon
import EventStore
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
import Testing

private let counter = """
  [projections.Good]
  tables = ["good"]
  setup = "CREATE TABLE good (seq bigint PRIMARY KEY)"
  sql = "INSERT INTO good SELECT seq_id FROM batch"
  """

@Suite(.gated) struct `When the database fails` {
  @Test func `the daemon starts before it is up, and waits`() async throws {
    let cluster = try await PrivateCluster.start()
    let database = try await TestDatabase.make(on: cluster)
    let settings = try await database.install(counter)
    try await database.append(type: "x", count: 3)
    await cluster.stop(.fast)
    try await withDaemon(settings) { daemon in
      _ = try await daemon.observed.first("it cannot reach the database") {
        $0.when(.databaseUnreachable)
      }
      try await cluster.startServer()
      try await daemon.waitUntilReachable(database)
      try await daemon.caughtUp(within: .seconds(60))
      #expect(try await database.value("SELECT count(*) FROM good", as: Int.self) == 3)
    }
    await cluster.remove()
  }

  @Test func `the daemon survives a fast restart and a crash, and loses and repeats nothing`() async throws {
    // The crash is a real one: what was not flushed is lost, and numbers are handed out again.
    let cluster = try await PrivateCluster.start()
    let database = try await TestDatabase.make(on: cluster)
    let settings = try await database.install(SampleProjections.toml)
    try await withDaemon(settings) { daemon in
      for (round, mode) in [PrivateCluster.StopMode.fast, .immediate, .immediate].enumerated() {
        let writing = Task { try? await database.write(writers: 3, transactions: 4_000, seed: UInt64(round * 10)) }
        try await database.untilAppended(atLeast: 200 * (round + 1))
        try await cluster.restart(mode)
        _ = await writing.value
        _ = try await database.write(writers: 2, transactions: 20, seed: UInt64(100 + round * 10))
        try await daemon.caughtUp(within: .seconds(90))
        #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
      }
    }
    await cluster.remove()
  }
}

@Suite(.gated) struct `When a page fails` {
  @Test func `and nothing may be skipped, only its shard stops, says why, and goes on once it is mended`() async throws
  {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      counter + """

        [errors]
        skip_serialization_errors = false
        [projections.Bad]
        tables = ["bad"]
        setup = "CREATE TABLE bad (n int)"
        sql = '''
        INSERT INTO bad
        SELECT (data->>'n')::int FROM batch
        '''
        """)
    try await database.append(type: "x", count: 2, data: #"{"n": "1"}"#)
    try await database.append(type: "x", count: 1, data: #"{"n": "one"}"#)
    try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.first("Bad stops") { observation -> Problem? in
        if observation.fact == .shardStopped, let shard = observation.shard, let failure = observation.failure,
          shard.projection == "Bad"
        {
          failure
        } else {
          nil
        }
      }
      #expect(failure.code?.text == "22P02")
      #expect(failure.message == #"invalid input syntax for type integer: "one""#)
      #expect(failure.source?.line == 16)
      try await database.append(type: "x", count: 1, data: #"{"n": "2"}"#)
      try await daemon.caughtUp(["Good:All"])
      #expect(try await database.position("Bad:All") == 0)
      #expect(try await database.value("SELECT count(*) FROM bad", as: Int.self) == 0)
      try await eventually("status says why") {
        try await database.value(
          "SELECT count(*) FROM tidemark.shard WHERE name = 'Bad:All' AND condition = 'stopped' AND reason LIKE 'invalid input%'",
          as: Int.self) == 1
      }
      try await database.script("UPDATE mt_events SET data = '{\"n\": \"3\"}' WHERE data->>'n' = 'one'")
      let config = try Program.file(
        "[database]\nurl = \"\(database.conninfo)\"\n[projections.Bad]\nsql = \"SELECT 1 FROM batch\"\n")
      #expect(try await Program.run(["start", "Bad", "-c", config]).output == "Bad:All started\n")
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT sum(n) FROM bad", as: Int.self) == 7)
    }
  }

  @Test func `for a deadlock or a lock, it is tried again until it works`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(counter)
    try await database.script("ALTER DATABASE \(database.name) SET lock_timeout = '50ms'")
    let blocker = try await Session.connect(database.options)
    try await blocker.script("BEGIN; LOCK TABLE good")
    try await database.append(type: "x", count: 3)
    try await withDaemon(settings) { daemon in
      for attempt in 1...3 {
        let failure = try await daemon.observed.first("attempt \(attempt) fails") { observation -> Problem? in
          if observation.fact == .shardRetrying, let failure = observation.failure, observation[.attempt] == attempt {
            failure
          } else {
            nil
          }
        }
        #expect(failure.code?.text == "55P03")
      }
      await blocker.close()
      try await daemon.caughtUp(within: .seconds(60))
      #expect(try await database.value("SELECT count(*) FROM good", as: Int.self) == 3)
    }
  }

  @Test func `because the read model was dropped, the shard stops, looks for no event, and loses no position`()
    async throws
  {
    let database = try await TestDatabase.make()
    let settings = try await database.install(counter)
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 3)
      try await daemon.caughtUp()
      try await database.script("DROP TABLE good")
      try await database.append(type: "x", count: 3)
      let failure = try await daemon.observed.first("it stops") { $0.when(.shardStopped)?.failure }
      #expect(failure.code?.text == "42P01")
      #expect(try await database.position("Good:All") == 3)
      #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
    }
  }

  @Test func `because another session moved its position, nothing is applied`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(counter)
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 3)
      try await daemon.caughtUp()
      let shape = try await database.connected { try await StoreShape.read($0, schema: "public") }
      let projector = Projector(
        ShardContext(
          settings.projections[0], shape: shape, policy: { FailurePolicy() }, node: "test",
          observer: ObservationRecorder()), policy: FailurePolicy())
      try await database.connected { session in
        try await ShardSessions.prepare(session)
        let error = await #expect(throws: PageFailure.self) {
          try await projector.apply(Page(floor: 1, ceiling: 3), on: session)
        }
        #expect(error?.failureClass == .order)
        #expect(error?.failure.message == "shard Good:All expected its position at 1, found it at 3")
      }
      #expect(try await database.value("SELECT count(*) FROM good", as: Int.self) == 3)
    }
  }
}

@Suite(.gated) struct `A daemon that is told to stop` {
  @Test func `finishes its page and leaves position and read model together`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [projections.Slow]
      tables = ["slow"]
      setup = "CREATE TABLE slow (seq bigint)"
      sql = "INSERT INTO slow SELECT seq_id FROM batch WHERE pg_sleep(0.001) IS NOT NULL"
      """)
    try await database.append(type: "x", count: 3_000)
    try await withDaemon(settings) { daemon in
      try await eventually("it is in the middle of a page") {
        try await database.value(
          "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'INSERT INTO slow%' AND state = 'active'",
          as: Int.self) == 1
      }
    }
    let position = try #require(try await database.position("Slow:All"))
    #expect(position > 0)
    #expect(try await database.value("SELECT count(*) FROM slow", as: Int64.self) == position)
  }

  @Test func `ends while the database is away`() async throws {
    let settings = try TestDatabase(cluster: try await SharedCluster.running(), name: "none", conninfo: "host=/nowhere")
      .settings(counter)
    try await withDaemon(settings) { daemon in
      _ = try await daemon.observed.first("it cannot reach the database") {
        $0.when(.databaseUnreachable)
      }
    }
  }
}

extension RunningDaemon {
  fileprivate func waitUntilReachable(_ database: TestDatabase) async throws {
    try await eventually("the database answers") { (try? await database.value("SELECT 1", as: Int.self)) == 1 }
  }
}

extension TestDatabase {
  fileprivate func untilAppended(atLeast count: Int) async throws {
    try await eventually("\(count) events") {
      ((try? await value("SELECT count(*) FROM mt_events", as: Int.self)) ?? 0) >= count
    }
  }
}
