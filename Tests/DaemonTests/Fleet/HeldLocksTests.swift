import Postgres
import Rules
import Telemetry
import TestSupport
import Testing

/// PostgreSQL lets each role that may connect take any advisory lock, and any other lock that its grants allow.
@Suite(.gated) struct `A lock that another session holds` {
  private func other(_ database: TestDatabase, _ statement: String) async throws -> Session {
    var options = database.options
    options.applicationName = "mallory"
    let session = try await Session.connect(options)
    try await session.script(statement)
    return session
  }

  @Test(
    arguments: [
      "SELECT pg_advisory_lock(hashtextextended('tidemark.gap', 0))", "BEGIN; LOCK TABLE sum IN EXCLUSIVE MODE",
      "BEGIN; SELECT FROM mt_event_progression WHERE name = 'Sum:All' FOR UPDATE",
    ])
  func `is named with its holder while a page waits for it`(statement: String) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    try await withDaemon(settings) { daemon in
      try await database.append(type: "n", count: 1, data: #"{"n": 1}"#)
      try await daemon.caughtUp()
      let holder = try await other(database, statement)
      try await database.append(type: "n", count: 1, data: #"{"n": 1}"#)
      let reason = try await daemon.observed.first(within: .seconds(60), "the holder is named") { observation in
        observation.fact == .pageSlow ? observation[.reason] : nil
      }
      #expect(reason.hasPrefix("waits for pid \(holder.processID) (mallory, local, postgres, idle"), "\(reason)")
      try await eventually("so it is in what status shows") {
        try await database.value(
          "SELECT coalesce(reason LIKE \("%it waits for pid \(holder.processID) (mallory%"), false) FROM tidemark.shard WHERE name = 'Sum:All'"
        )
      }
      await holder.close()
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 2)
    }
  }

  /// A role without rights sees the process and the role, and nothing else.
  @Test func `is said to be hidden where the server hides it`() async throws {
    let database = try await TestDatabase.make()
    let holder = try await other(database, "SELECT pg_advisory_lock(4711)")
    try await database.connected { session in
      try await session.script("CREATE ROLE \(database.name)_viewer; SET ROLE \(database.name)_viewer")
      let found = try #require(try await LockHolder.ofAdvisoryLock(4711, session))
      #expect(
        found.description
          == "pid \(holder.processID) (mallory, postgres, the rest is hidden; it needs pg_monitor)")
      try await session.script("RESET ROLE; DROP ROLE \(database.name)_viewer")
    }
    await holder.close()
  }

  /// The key of `tidemark company`, which never changes: a node of an earlier program must exclude one of a later.
  private let exclusivity = -3561109757391223917

  @Test func `is named when it keeps a node from starting, and is no node`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(Numbers.batch)
    let config = try Program.settings(database.conninfo, Numbers.batch)
    let holder = try await other(database, "SELECT pg_advisory_lock_shared(\(exclusivity))")
    let outcome = try await Program.run(["run", "-c", config])
    #expect(outcome.code != 0)
    #expect(
      outcome.error.contains(
        "a session that is no node holds the lock of this store's nodes: pid \(holder.processID) (mallory, "),
      "\(outcome)")
    #expect(outcome.error.contains("SELECT pg_terminate_backend(\(holder.processID))"), "\(outcome)")
    await holder.close()
  }
}
