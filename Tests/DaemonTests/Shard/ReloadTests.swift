import Books
import Daemon
import Foundation
import Postgres
import Rules
import Settings
import Synchronization
import Telemetry
import TestSupport
import Testing

@Suite(.gated) struct `A reload` {
  private static func counter(_ name: String, by step: Int = 1) -> String {
    """
    [projections.\(name)]
    tables = ["\(name.lowercased())"]
    setup = "CREATE TABLE IF NOT EXISTS \(name.lowercased()) (seq bigint, step int)"
    sql = "INSERT INTO \(name.lowercased()) SELECT seq_id, \(step) FROM batch"

    """
  }

  /// Sequences that a counter applied, with the step it applied them with.
  private static func applied(_ table: String, _ database: TestDatabase) async throws -> [String] {
    try await database.connected { session in
      try await session.execute("SELECT seq, step FROM \(identifier: table) ORDER BY seq").rows.map {
        "\(try $0.get(0, as: Int.self))/\(try $0.get(1, as: Int.self))"
      }
    }
  }

  /// From its first moment on the daemon holds the signal, long before it can follow it.
  @Test func `is not lost that is asked for while the daemon starts`() async throws {
    let database = try await TestDatabase.make()
    let config = try Program.settings(database.conninfo)
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    for _ in 0..<5 {
      let daemon = try await DaemonProcess.start(config)
      try await daemon.holdsSignals()
      daemon.send(SIGHUP)
      #expect(try await Program.run(["wait", "-c", config]).code == 0)
      let outcome = try await daemon.stop()
      #expect(outcome.code == 0 && outcome.error.contains("Settings reloaded"), "\(outcome)")
    }
  }

  @Test func `starts what was added, ends what was removed, restarts what changed, and touches nothing else`()
    async throws
  {
    let database = try await TestDatabase.make()
    let settings = try await database.install(["Stays", "Goes", "Changes", "Comes"].map { Self.counter($0) }.joined())
    let first = try database.settings(Self.counter("Stays") + Self.counter("Goes") + Self.counter("Changes"))
    let second = try database.settings(Self.counter("Stays") + Self.counter("Changes", by: 2) + Self.counter("Comes"))
    #expect(settings.projections.count == 4)
    try await withDaemon(first) { daemon in
      try await database.append(type: "x", count: 3)
      try await daemon.caughtUp()
      let sessions = try await Self.sessions(database)
      let told = daemon.observed.all.count
      let new = await daemon.daemon.reload { () throws(SettingsProblems) in second }
      #expect(new?.projections.count == 3)
      try await database.append(type: "x", count: 2)
      try await daemon.caughtUp(["Stays:All", "Changes:All", "Comes:All"])

      #expect(try await Self.applied("stays", database) == ["1/1", "2/1", "3/1", "4/1", "5/1"])
      #expect(try await Self.applied("changes", database) == ["1/1", "2/1", "3/1", "4/2", "5/2"])
      #expect(try await Self.applied("comes", database) == ["1/1", "2/1", "3/1", "4/1", "5/1"])
      #expect(try await Self.applied("goes", database) == ["1/1", "2/1", "3/1"])
      #expect(try await database.position("Goes:All") == 3)

      let after = daemon.observed.all.dropFirst(told)
      let touched = Set(
        after.compactMap { $0.when(.shardStarted, .shardEnded)?.shard?.projection })
      #expect(touched == ["Goes", "Changes", "Comes"])
      let reloaded = after.contains {
        guard $0.fact == .reloaded, let added = $0[.added], let removed = $0[.removed], let changed = $0[.changed]
        else { return false }
        return added.map(\.projection) == ["Comes"] && removed.map(\.projection) == ["Goes"]
          && changed.map(\.projection) == ["Changes"]
      }
      #expect(reloaded)
      #expect(!sessions.isEmpty)
      #expect(try await sessions.isSubset(of: Self.sessions(database)), "no session was closed")
    }
  }

  private static func sessions(_ database: TestDatabase) async throws -> Set<Int> {
    try await database.connected { session in
      Set(
        try await session.execute(
          """
          SELECT pid FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'tidemark%'
          """
        ).rows.map { try $0.get(0, as: Int.self) })
    }
  }

  @Test func `lets a shard that goes finish its page`() async throws {
    let database = try await TestDatabase.make()
    let slow = """
      [projections.Slow]
      tables = ["slow"]
      setup = "CREATE TABLE slow (n bigint)"
      sql = '''INSERT INTO slow SELECT count(*) FROM batch, pg_sleep(1)'''
      """
    let settings = try await database.install(slow)
    try await database.append(type: "x", count: 5)
    try await withDaemon(settings) { daemon in
      try await eventually("the page is under way") {
        try await database.value(
          "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%INTO slow%' AND state = 'active' AND pid <> pg_backend_pid() AND datname = current_database()",
          as: Int.self) > 0
      }
      await daemon.daemon.reload { () throws(SettingsProblems) in
        var without = settings
        without.projections = []
        return without
      }
      _ = try await daemon.observed.first("it ends") { observation -> Bool? in
        if observation.fact == .shardEnded, observation[.position] == 5 { true } else { nil }
      }
    }
    #expect(try await database.value("SELECT sum(n)::bigint FROM slow", as: Int.self) == 5)
  }

  /// What only rebuilds go by is taken over too: otherwise the node would refuse one, as of another definition, until it is restarted.
  @Test(arguments: ["key = \"id\"", "parallel = \"by-stream\""])
  func `with a key that only a rebuild goes by lets the node rebuild by it`(key: String) async throws {
    let trip = #"""
      [projections.Trip]
      events = ["travel"]
      tables = ["trip"]
      setup = "CREATE TABLE trip (id uuid PRIMARY KEY, legs bigint NOT NULL)"
      sql = '''
      INSERT INTO trip AS t SELECT stream_id, count(*) FROM batch GROUP BY 1
      ON CONFLICT (id) DO UPDATE SET legs = t.legs + excluded.legs
      '''
      """#
    let database = try await TestDatabase.make()
    let settings = try await database.install(trip)
    let more = try database.settings(trip + "\n" + key)
    for _ in 1...4 { try await database.append(type: "travel", count: 3) }
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      await daemon.daemon.reload { () throws(SettingsProblems) in more }
      var request = RebuildTable.Request()
      request.workers = 2
      let row = try await database.rebuild(more, "Trip", request, byNode: true)
      #expect(row.state == .done && row.error == nil, "\(row)")
      #expect(try await database.value("SELECT sum(legs)::bigint FROM trip", as: Int.self) == 12)
    }
  }

  @Test func `back and forth a hundred times applies each event once`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.counter("A") + Self.counter("B"))
    let variants = try [
      Self.counter("A") + Self.counter("B"), Self.counter("A", by: 2), Self.counter("B", by: 2), "",
      Self.counter("A", by: 3) + Self.counter("B"),
    ].map { try database.settings($0) }
    try await withDaemon(settings) { daemon in
      for round in 0..<100 {
        try await database.append(type: "x", count: 3)
        let next = variants[(round &* 7) % variants.count]
        await daemon.daemon.reload { () throws(SettingsProblems) in next }
      }
      await daemon.daemon.reload { () throws(SettingsProblems) in settings }
      try await daemon.caughtUp()
    }
    for table in ["a", "b"] {
      let counted = try await database.value(
        "SELECT count(*) * 1000000 + count(DISTINCT seq) FROM \(identifier: table)", as: Int.self)
      #expect(counted == 300_000_300)
    }
  }

  @Test func `of files with problems changes nothing and says each`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.counter("Stays"))
    try await withDaemon(settings) { daemon in
      let new = await daemon.daemon.reload { () throws(SettingsProblems) in
        do {
          return try database.settings("[projections.Stays]\nsqll = \"x\"\n[nonsense]")
        } catch {
          throw error as! SettingsProblems
        }
      }
      #expect(new == nil)
      let problems = daemon.observed.all.compactMap {
        $0.when(.reloadRefused)?[.problem]
      }
      #expect(problems.count == 2, "\(problems)")
      #expect(problems.contains { $0.contains("did you mean \"sql\"?") && $0.hasPrefix("test.toml:") })
      try await database.append(type: "x", count: 3)
      try await daemon.caughtUp()
      #expect(try await Self.applied("stays", database).count == 3)
    }
  }

  @Test func `names the settings that need a restart, and only those that changed`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.counter("Stays"))
    let other = try database.settings(
      Self.counter("Stays") + "[log]\nlevel = \"debug\"\n",
      eventStore: "append = \"quick\"\npoll_max = \"100ms\"", database: "pool_size = 3")
    try await withDaemon(settings) { daemon in
      let new = await daemon.daemon.reload { () throws(SettingsProblems) in other }
      #expect(new?.logLevel == .debug)
      let keys = daemon.observed.all.compactMap { $0.when(.restartNeeded)?[.key] }
      #expect(Set(keys) == ["event_store.poll_max", "database.pool_size"], "\(keys)")
    }
  }

  @Test func `of a daemon that waits for its database is taken over when that comes`() async throws {
    let settings = try Settings.parse(
      "[database]\nurl = \"host=/nowhere\"\n", file: "test.toml",
      files: SettingsFiles(read: { .failure(.init("there is no \($0)")) }))
    try await withDaemon(settings) { daemon in
      _ = try await daemon.observed.first("it waits") { $0.when(.databaseUnreachable) }
      var more = settings
      more.logLevel = .debug
      let wanted = more
      let new = await daemon.daemon.reload { () throws(SettingsProblems) in wanted }
      #expect(new?.logLevel == .debug)
    }
  }
}
