import Foundation
import Postgres
import Sandbox
import Testing

@Suite struct `Cancelling` {
  @Test func `ends the statement on the server`() async throws {
    try await withSession { session async throws in
      let task = Task { try await session.execute("SELECT pg_sleep(600)") }
      try await withSession { other async throws in
        try await other.untilActive(session.processID)
        task.cancel()
        let error = await #expect(throws: PostgresError.self) { try await task.value }
        #expect(error?.isCancelled == true)
        #expect(
          try await other.value("SELECT state FROM pg_stat_activity WHERE pid = \(Int(session.processID))") == "idle")
      }
      #expect(try await session.value("SELECT 1", as: Int.self) == 1)
    }
  }

  @Test func `by a timeout says so`() async throws {
    try await withSession { session async throws in
      await #expect(throws: PostgresError(.timedOut(.milliseconds(20)))) {
        try await session.execute("SELECT pg_sleep(600)", timeout: .milliseconds(20))
      }
      #expect(try await session.value("SELECT 1", as: Int.self) == 1)
    }
  }

  /// The statement after a cancelled one must always run: a cancel that arrives late would hit it.
  @Test func `thousands of times at random moments never hits another statement`() async throws {
    let seed = UInt64.random(in: 0...UInt64(UInt32.max))
    await withThrowingTaskGroup(of: Void.self) { group in
      for worker in 0..<4 {
        group.addTask {
          try await withSession { session async throws in
            var state = seed &+ UInt64(worker)
            for round in 0..<750 {
              state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
              let delay = Duration.microseconds(Int(state >> 33) % 1_500)
              let task = Task { try await session.execute("SELECT pg_sleep(0.0005), \(round) AS round") }
              try await Task.sleep(for: delay)
              task.cancel()
              switch await task.result {
              case .success(let result):
                #expect(try result.rows[0].get("round", as: Int.self) == round, "seed \(seed)")
              case .failure(let error):
                #expect((error as? PostgresError)?.isCancelled == true, "seed \(seed): \(error)")
              }
              let next = try await session.value("SELECT \(round) FROM pg_sleep(0.0002)", as: Int.self)
              #expect(next == round, "seed \(seed)")
            }
          }
        }
      }
      do { try await group.waitForAll() } catch { Issue.record("seed \(seed): \(error)") }
    }
  }

  @Test func `a pipeline leaves a session that can be used`() async throws {
    try await withSession { session async throws in
      for round in 0..<200 {
        let task = Task {
          try await session.pipeline(["BEGIN", "SELECT pg_sleep(0.001)", "SELECT pg_sleep(0.001)", "COMMIT"])
        }
        try await Task.sleep(for: .microseconds(round * 20))
        task.cancel()
        _ = await task.result
        await session.rollBack()
        #expect(try await session.value("SELECT \(round)", as: Int.self) == round)
      }
    }
  }
}

@Suite struct `Watching a session` {
  @Test func `ends when the time is over, and holds back no dead rows meanwhile`() async throws {
    try await withSession { session async throws in
      try await session.watch(for: .milliseconds(1))
      try await withSession { other async throws in
        async let watched: Void = session.watch(for: .milliseconds(300))
        for _ in 0..<20 {
          #expect(
            try await other.value(
              "SELECT count(*) FROM pg_stat_activity WHERE pid = \(Int(session.processID)) AND (backend_xmin IS NOT NULL OR xact_start IS NOT NULL)",
              as: Int.self) == 0)
        }
        try await watched
      }
      #expect(try await session.value("SELECT 1", as: Int.self) == 1)
    }
  }

  @Test func `fails the moment the server ends it, and says why`() async throws {
    try await withSession { session async throws in
      try await withSession { other async throws in
        let watched = Task { try await session.watch(for: .seconds(600)) }
        _ = try await other.execute("SELECT pg_terminate_backend(\(Int(session.processID))::int)")
        let error = await #expect(throws: PostgresError.self) { try await watched.value }
        #expect(error?.isConnectionLoss == true)
        #expect("\(error!)".contains("terminating connection due to administrator command"))
        #expect(!session.isOpen)
      }
    }
  }

  @Test func `can be cancelled`() async throws {
    try await withSession { session async throws in
      let task = Task { try await session.watch(for: .seconds(600)) }
      task.cancel()
      let error = await #expect(throws: PostgresError.self) { try await task.value }
      #expect(error?.isCancelled == true)
      #expect(try await session.value("SELECT 1", as: Int.self) == 1)
    }
  }
}

@Suite struct `A server that is frozen` {
  /// `PQcancel` itself waits for the server's answer, so a frozen one must not freeze the session's thread with it. The statement would
  /// take ten minutes.
  @Test(.timeLimit(.minutes(2))) func `does not keep a cancelled statement, and the session is given up`() async throws
  {
    let cluster = try await PrivateCluster.start()
    let session = try await Session.connect(ConnectionOptions(conninfo: cluster.conninfo(database: "postgres")))
    let pids = try await session.execute(
      "SELECT pg_backend_pid()::text UNION ALL SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"
    ).rows.map { pid_t(try $0.get(0, as: String.self))! }
    let waiting = Task { try await session.execute("SELECT pg_sleep(600)") }
    let other = try await Session.connect(ConnectionOptions(conninfo: cluster.conninfo(database: "postgres")))
    try await other.closing { try await $0.untilActive(session.processID) }
    for pid in pids { kill(pid, SIGSTOP) }
    waiting.cancel()
    let error = await #expect(throws: PostgresError.self) { try await waiting.value }
    #expect(error?.isCancelled == true)
    #expect(!session.isOpen)
    for pid in pids { kill(pid, SIGCONT) }
    await cluster.remove()
  }

  @Test func `COPY in a pipeline ends the session instead of reading for ever`() async throws {
    let session = try await Session.connect(try await SharedCluster.options())
    let error = await #expect(throws: PostgresError.self) {
      _ = try await session.pipeline(["SELECT 1", "COPY (SELECT 1) TO STDOUT"], timeout: .seconds(10))
    }
    #expect(error?.message.contains("COPY") == true)
    #expect(!session.isOpen)
  }
}
