import Concurrency
import Foundation
import Postgres
import Testing

@Suite struct `A pool` {
  @Test func `never opens more than its limit, and serves everybody`() async throws {
    let pool = SessionPool(try await SharedCluster.options(), limit: 3, name: "pool")
    try await withThrowingTaskGroup(of: Int32.self) { group in
      for _ in 0..<200 {
        group.addTask {
          try await pool.withSession { session async throws in
            try await session.execute("SELECT pg_sleep(0.0002)")
            return session.processID
          }
        }
      }
      var processes: Set<Int32> = []
      for try await process in group { processes.insert(process) }
      #expect(processes.count <= 3)
    }
    #expect(await pool.openCount <= 3)
    await pool.close()
  }

  @Test func `gives nobody a session in the middle of a transaction`() async throws {
    struct Enough: Error {}
    let pool = SessionPool(try await SharedCluster.options(), limit: 1, name: "pool")
    await #expect(throws: Enough.self) {
      try await pool.withSession { session async throws in
        try await session.script("BEGIN; CREATE TEMP TABLE left_over ()")
        throw Enough()
      }
    }
    let status = try await pool.withSession { await $0.transactionStatus }
    #expect(status == .idle)
    await pool.close()
  }

  @Test func `replaces a session that broke`() async throws {
    let pool = SessionPool(try await SharedCluster.options(), limit: 1, name: "pool")
    let first = try await pool.withSession { $0.processID }
    _ = try await withSession { try await $0.execute("SELECT pg_terminate_backend(\(Int(first))::int)") }
    _ = try? await pool.withSession { try await $0.execute("SELECT 1") }
    #expect(try await pool.withSession { try await $0.value("SELECT 2", as: Int.self) } == 2)
    await pool.close()
  }

  /// A restart of the server ends all: each that is lent afterwards would fail its user once more.
  @Test func `replaces all that lie idle where one broke`() async throws {
    let pool = SessionPool(try await SharedCluster.options(), limit: 3, name: "pool")
    let processes = try await withThrowingTaskGroup(of: Int32.self) { group in
      for _ in 0..<3 {
        group.addTask {
          try await pool.withSession { session async throws in
            try await session.execute("SELECT pg_sleep(0.2)")
            return session.processID
          }
        }
      }
      return try await group.reduce(into: Set<Int32>()) { $0.insert($1) }
    }
    try #require(processes.count == 3)
    for process in processes {
      _ = try await withSession { try await $0.execute("SELECT pg_terminate_backend(\(Int(process))::int, 5000)") }
    }
    await #expect(throws: PostgresError.self) { try await pool.withSession { try await $0.execute("SELECT 1") } }
    #expect(try await pool.withSession { try await $0.value("SELECT 2", as: Int.self) } == 2)
    await pool.close()
  }

  @Test func `lets a waiting task be cancelled, and keeps its place`() async throws {
    let pool = SessionPool(try await SharedCluster.options(), limit: 1, name: "pool")
    try await pool.withSession { _ in
      let waiting = Task { try await pool.withSession { _ in } }
      waiting.cancel()
      await #expect(throws: CancellationError.self) { try await waiting.value }
    }
    #expect(try await pool.withSession { try await $0.value("SELECT 1", as: Int.self) } == 1)
    await pool.close()
  }

  @Test func `keeps its session where the caller is cancelled`() async throws {
    let pool = SessionPool(
      try await SharedCluster.options(), limit: 1, name: "pool",
      clean: { try await $0.execute("SELECT pg_sleep(0.01)") })
    let first = try await pool.withSession(for: "one") { $0.processID }
    let cancelled = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      try await pool.withSession(for: "two") { _ in }
    }
    let error = await #expect(throws: PostgresError.self) { try await cancelled.value }
    #expect(error?.isCancelled == true)
    #expect(try await pool.withSession(for: "three") { $0.processID } == first)
    await pool.close()
  }

  /// One that is half clean has lost what was prepared on it, and its own former user would not notice.
  @Test(arguments: ["one", "two", "three"])
  func `cleans a session whose cleaning was cut short before anybody has it again`(next: String) async throws {
    let pool = SessionPool(
      try await SharedCluster.options(), limit: 1, name: "pool",
      prepare: { try await $0.execute("SELECT set_config('search_path', 'prepared', false)") },
      clean: {
        try await $0.script("RESET ALL")
        try await $0.execute("SELECT pg_sleep(0.01)")
        try await $0.execute("SELECT set_config('search_path', 'prepared', false)")
      })
    let first = try await pool.withSession(for: "one") { $0.processID }
    let started = Stop()
    let cancelled = Task {
      started.request()
      try await pool.withSession(for: "two") { _ in }
    }
    try await started.wait()
    // In its sleep, as a rule.
    try await Task.sleep(for: .milliseconds(5))
    cancelled.cancel()
    _ = await cancelled.result
    let (process, path) = try await pool.withSession(for: next) { session async throws in
      (session.processID, try await session.value("SELECT current_setting('search_path')", as: String.self))
    }
    #expect(process == first && path == "prepared")
    await pool.close()
  }

  @Test func `that cannot connect fails each time, and not for ever`() async throws {
    let pool = SessionPool(ConnectionOptions(conninfo: "host=/nowhere"), limit: 1, name: "pool")
    for _ in 0..<3 { await #expect(throws: PostgresError.self) { try await pool.withSession { _ in } } }
    await pool.close()
    let error = await #expect(throws: PostgresError.self) { try await pool.withSession { _ in } }
    #expect(error?.message == "the pool is closed")
  }

  @Test func `leaks no session, thread or descriptor`() async throws {
    // Other tests run beside this one and hold some hundreds of each; a leak would be as many as there were sessions, or more.
    let sessions = 600
    let before = (count("/proc/self/fd"), count("/proc/self/task"))
    for _ in 0..<sessions { try await withSession { _ = try await $0.execute("SELECT 1") } }
    let deadline = ContinuousClock.now + .seconds(30)
    func isLeaking() -> Bool {
      count("/proc/self/fd") >= before.0 + sessions || count("/proc/self/task") >= before.1 + sessions
    }
    while isLeaking(), ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(10)) }
    #expect(!isLeaking())
  }

  private func count(_ directory: String) -> Int {
    (try? FileManager.default.contentsOfDirectory(atPath: directory).count) ?? 0
  }
}
