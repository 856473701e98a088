import Foundation
import Postgres
import Processes
import Sandbox
import TestSupport
import Testing

/// A stop leaves position and read model together, whenever it comes.
@Suite(.gated) struct `A SIGTERM` {
  /// A page that takes as long as the test says.
  private static func slow(_ seconds: Double) -> String {
    """
    [projections.Slow]
    tables = ["slow"]
    setup = "CREATE TABLE slow (seq bigint)"
    sql = '''
    INSERT INTO slow SELECT seq_id FROM batch;
    SELECT pg_sleep(\(seconds));
    '''
    """
  }

  private static func isAtWork(_ database: TestDatabase) async throws -> Bool {
    try await database.value(
      """
      SELECT EXISTS (SELECT FROM pg_stat_activity
                      WHERE query LIKE '%pg_sleep(%' AND query NOT LIKE '%pg_catalog%' AND state = 'active' AND pid <> pg_backend_pid()
                        AND datname = current_database())
      """)
  }

  private static func start(_ database: TestDatabase, _ projections: String, stopTimeout: String = "30s") async throws
    -> DaemonProcess
  {
    let config = try Program.settings(database.conninfo, projections, head: "stop_timeout = \"\(stopTimeout)\"")
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    try await database.append(type: "x", count: 5)
    return try await DaemonProcess.start(config)
  }

  /// The position says how many rows there are.
  private static func isTogether(_ database: TestDatabase, _ shard: String, _ table: String) async throws -> Int? {
    let position = try await database.position(shard)
    let rows = try await database.value("SELECT count(*) FROM \(identifier: table)", as: Int64.self)
    #expect(rows == position ?? 0)
    return Int(rows)
  }

  @Test func `in a page lets it finish`() async throws {
    let database = try await TestDatabase.make()
    let daemon = try await Self.start(database, Self.slow(1))
    try await eventually("the page is under way") { try await Self.isAtWork(database) }
    let outcome = try await daemon.stop()
    #expect(outcome.code == 0, "\(outcome)")
    #expect(try await Self.isTogether(database, "Slow:All", "slow") == 5)
  }

  @Test func `in a page that outlasts stop_timeout rolls it back`() async throws {
    let database = try await TestDatabase.make()
    let daemon = try await Self.start(database, Self.slow(3600), stopTimeout: "1s")
    try await eventually("the page is under way") { try await Self.isAtWork(database) }
    let outcome = try await daemon.stop()
    #expect(outcome.code == 0, "\(outcome)")
    #expect(outcome.error.contains("Stopped after stop_timeout"), "\(outcome.error)")
    #expect(try await Self.isTogether(database, "Slow:All", "slow") == 0)
    #expect(try await !Self.isAtWork(database), "the statement is over on the server too")
  }

  @Test func `a second time ends at once, by that signal`() async throws {
    let database = try await TestDatabase.make()
    let daemon = try await Self.start(database, Self.slow(3600))
    try await eventually("the page is under way") { try await Self.isAtWork(database) }
    daemon.send(SIGTERM)
    // Two that arrive together count as one; the first was heard once shards take no new page, which the database shows.
    try await eventually("the first is heard") {
      try await database.value("SELECT count(*) FROM tidemark.shard WHERE condition = 'ended'", as: Int.self) == 1
    }
    let outcome = try await daemon.stop()
    #expect(outcome.status == .signaled(SIGTERM), "\(outcome)")
    try await eventually("the server gives the page up") {
      try await Self.isTogether(database, "Slow:All", "slow") == 0
    }
  }

  /// A plugin has a group of its own, which no Ctrl-C reaches, and need not look at its input.
  @Test func `a second time takes plugins along`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python("def answer(page, events): time.sleep(1000)", before: "import time")
    let daemon = try await Self.start(database, "[projections.Deaf]\nexec = [\"\(plugin)\"]")
    try await eventually("it has a page") { programs.lines("hello").count == 1 && !daemon.children.isEmpty }
    let children = daemon.children
    daemon.send(SIGTERM)
    try await eventually("the first is heard") {
      let status = try String(contentsOfFile: "/proc/\(daemon.pid)/status", encoding: .utf8)
      return status.contains("ShdPnd:\t0000000000000000")
    }
    let outcome = try await daemon.stop()
    #expect(outcome.status == .signaled(SIGTERM), "\(outcome)")
    try await eventually("its plugin is gone") { children.allSatisfy { kill($0, 0) != 0 } }
  }

  @Test func `in a retry, in a pause, and while nothing happens, ends soon`() async throws {
    let projections = """
      [projections.Locked]
      tables = ["locked"]
      setup = "CREATE TABLE locked (seq bigint)"
      sql = "INSERT INTO locked SELECT seq_id FROM batch"
      [[on_error]]
      projection = "Poisoned"
      do = "pause 1h"
      [projections.Poisoned]
      sql = "SELECT 1/0 FROM batch"
      [projections.Idle]
      events = ["never"]
      sql = "SELECT 1 FROM batch"
      """
    let database = try await TestDatabase.make()
    try await database.script("ALTER DATABASE \(database.name) SET lock_timeout = '50ms'")
    let blocker = try await Session.connect(database.options)
    let config = try Program.settings(database.conninfo, projections)
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    try await blocker.script("BEGIN; LOCK TABLE locked")
    try await database.append(type: "x", count: 5)
    let daemon = try await DaemonProcess.start(config)
    try await eventually("one retries and one pauses") {
      try await database.value(
        "SELECT count(*) FROM tidemark.shard WHERE condition IN ('retrying', 'paused')", as: Int.self)
        == 2
    }
    let outcome = try await daemon.stop()
    #expect(outcome.code == 0, "\(outcome)")
    #expect(!outcome.error.contains("stop_timeout"))
    await blocker.close()
    #expect(try await Self.isTogether(database, "Locked:All", "locked") == 0)
  }

  @Test func `while the database is away, or was never there, exits 0`() async throws {
    let cluster = try await PrivateCluster.start()
    let database = try await TestDatabase.make(on: cluster)
    let config = try Program.settings(database.conninfo)
    let early = try await DaemonProcess.start(try Program.settings("host=/nowhere"))
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    let daemon = try await DaemonProcess.start(config)
    #expect(try await Program.run(["wait", "-c", config]).code == 0)
    await cluster.stop(.immediate)
    for process in [early, daemon] {
      let outcome = try await process.stop()
      #expect(outcome.code == 0 && outcome.error.contains("Stopped"), "\(outcome)")
      #expect(!outcome.error.contains("stop_timeout"), "\(outcome)")
    }
  }

  /// Stops at random moments of real work, from the first page to the last.
  @Test func `at any moment of a busy daemon loses and repeats nothing`() async throws {
    let database = try await TestDatabase.make()
    let config = try Program.settings(database.conninfo)
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    let writing = Task { try await database.write(writers: 3, transactions: 200) }
    let seed = walkSeed()
    print("stops: TIDEMARK_SEED=\(seed)")
    var random = SplitMix(seed: seed)
    for _ in 0..<6 {
      let daemon = try await DaemonProcess.start(config)
      try await Task.sleep(for: .milliseconds(Int.random(in: 20...500, using: &random)))
      let outcome = try await daemon.stop()
      // Before the daemon has said its first word the signal has its usual effect.
      #expect(outcome.code == 0 || outcome.status == .signaled(SIGTERM) && outcome.error.isEmpty, "\(outcome)")
    }
    _ = try await writing.value
    let daemon = try await DaemonProcess.start(config)
    #expect(try await Program.run(["wait", "-c", config]).code == 0)
    #expect(try await daemon.stop().code == 0)
    #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
  }
}
