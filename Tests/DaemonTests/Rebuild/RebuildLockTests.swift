import Books
import Daemon
import EventStore
import Operator
import Postgres
import ReadModels
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

/// The tables of a rebuild belong to the operator's database, so any session that may read them may keep them locked.
@Suite(.gated) struct `A rebuild whose tables another session keeps locked` {
  private static let keys = """
    [projections.Sum]
    tables = ["sum"]
    setup = "CREATE TABLE sum (id int PRIMARY KEY, n bigint NOT NULL)"
    sql = "INSERT INTO sum AS s SELECT 1, count(*) FROM batch HAVING count(*) > 0 ON CONFLICT (id) DO UPDATE SET n = s.n + excluded.n"

    """

  /// A database in which a rebuild has made its tables and has compared, so that they are there; and a session that locks one of them.
  private func locked() async throws -> (TestDatabase, Settings, config: String, holder: Session) {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.keys)
    let config = try Program.settings(database.conninfo, Self.keys)
    try await database.append(type: "x", count: 3)
    try await database.follow(settings)
    var request = RebuildTable.Request()
    request.compares = true
    request.exchanges = false
    #expect(try await database.rebuild(settings, "Sum", request).state == .compared)
    let holder = try await other(database, "BEGIN; SELECT FROM \(Self.shadow)")
    return (database, settings, config, holder)
  }

  private static let shadow = "\(ShadowTables.schema(of: "Sum:All")).sum"

  private func other(_ database: TestDatabase, _ statement: String) async throws -> Session {
    var options = database.options
    options.applicationName = "mallory"
    let session = try await Session.connect(options)
    try await session.script(statement)
    return session
  }

  @Test func `is not ended by --abort, which names that session within seconds`() async throws {
    let (database, _, config, holder) = try await locked()
    let began = ContinuousClock.now
    let refused = try await Program.run(["rebuild", "Sum", "--abort", "-c", config])
    #expect(ContinuousClock.now - began < .seconds(25))
    #expect(
      refused.code == 1
        && refused.error.contains(
          "not free within 5 s: pid \(holder.processID) (mallory, local, postgres, idle in transaction")
        && refused.error.contains("End that session"), "\(refused)")
    await holder.close()
    #expect(try await Program.run(["rebuild", "Sum", "--abort", "-c", config]).code == 0)
    #expect(try await database.leftovers() == 0)
  }

  @Test func `is said to be locked by a hidden session where the role may not see it`() async throws {
    let (database, settings, _, holder) = try await locked()
    let schema = ShadowTables.schema(of: "Sum:All")
    try await database.connected { session in
      try await session.script("CREATE ROLE \(database.name)_viewer; SET ROLE \(database.name)_viewer")
      let found = try await LockHolder.ofTables(in: schema, orAlone: [], session)
      #expect(
        found.map(\.description)
          == ["pid \(holder.processID) (mallory, postgres, the rest is hidden; it needs pg_monitor)"])
      try await session.script("RESET ROLE; DROP ROLE \(database.name)_viewer")
    }
    await holder.close()
    _ = settings
  }

  @Test func `is not begun again by --restart, which names that session`() async throws {
    let (database, _, config, holder) = try await locked()
    let refused = try await Program.run(["rebuild", "Sum", "--restart", "--here", "--yes", "-c", config])
    #expect(
      refused.code == 1 && refused.error.contains("not free within 5 s: pid \(holder.processID) (mallory, "),
      "\(refused)")
    await holder.close()
    let again = try await Program.run(["rebuild", "Sum", "--restart", "--here", "--yes", "-c", config])
    #expect(again.code == 0, "\(again)")
    #expect(try await database.leftovers() == 0)
  }

  @Test func `is ended by its node once that session ends, and the log names it meanwhile`() async throws {
    let (database, settings) = try await SlowProjection.prepared(pause: "0.5")
    let shadow = "\(ShadowTables.schema(of: "Slow:All")).slow"
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let asked = Task { try await database.rebuild(settings, "Slow", byNode: true) }
      try await eventually("the new table") {
        try await database.value("SELECT to_regclass(\(shadow)) IS NOT NULL", as: Bool.self)
      }
      let holder = try await other(database, "BEGIN; SELECT FROM \(shadow)")
      let aborting = Task {
        try await database.connected { try await RebuildRequests(by: "a test", byNode: true).abort("Slow:All", $0) }
      }
      let failure = try await daemon.observed.first(within: .seconds(60), "the holder is named") { observation in
        observation.fact == .rebuildRetrying ? observation.failure : nil
      }
      #expect(failure.message.contains("not free within 5 s: pid \(holder.processID) (mallory, "), "\(failure)")
      await holder.close()
      #expect(try await aborting.value)
      #expect(try await asked.value.state == .aborted)
      #expect(try await database.leftovers() == 0)
    }
  }

  @Test func `waits for a table that another session keeps to itself, and says who that is`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.keys)
    try await database.append(type: "x", count: 3)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let holder = try await other(database, "BEGIN; LOCK TABLE sum IN ACCESS EXCLUSIVE MODE")
      let asked = Task { try await database.rebuild(settings, "Sum", byNode: true) }
      let failure = try await daemon.observed.first(within: .seconds(60), "the holder is named") { observation in
        observation.fact == .rebuildRetrying ? observation.failure : nil
      }
      #expect(
        failure.message.contains("not free within 5 s: pid \(holder.processID) (mallory, local, postgres, idle"),
        "\(failure)")
      await holder.close()
      #expect(try await asked.value.state == .done)
    }
  }
}
