import Operator
import Books
import Daemon
import Foundation
import Postgres
import Rules
import Sandbox
import Settings
import TestSupport
import Testing

/// Rebuilds that real daemons do: one of several, or of several databases, and with operators who do not know of each other.
@Suite(.gated) struct `A rebuild by nodes` {
  // MARK: Several databases

  @Test func `is of the one database that is named, and is refused where none is`() async throws {
    let toml = SlowProjection.toml
    let tenants = [
      ("acme", try await SlowProjection.prepared(events: 3_000, pause: "0").0),
      ("globex", try await SlowProjection.prepared(events: 2_000, pause: "0").0),
    ]
    let acme = tenants[0].1
    let globex = tenants[1].1
    for (_, database) in tenants { try await database.script("UPDATE slow SET legs = legs + 1") }
    let tables = tenants.map { "[databases.\($0.0)]\nurl = \"\($0.1.conninfo)\"\n" }.joined()
    let config = try Program.file("\(tables)[event_store]\nappend = \"quick\"\n\(toml)\n")
    let daemon = try await DaemonProcess.start(config)
    for (_, database) in tenants { try await database.hasNode() }

    for choice in [["Slow"], ["--all"], ["-i"], ["Slow", "--abort"], ["Slow", "--in-place"]] {
      let vague = try await Program.run(["rebuild"] + choice + ["-c", config])
      #expect(vague.code == 2 && vague.error.contains("name one with --database NAME"), "\(choice): \(vague)")
      #expect(vague.error.contains("acme, globex"), "\(choice): \(vague)")
      #expect(!vague.error.contains("empties"), "nothing is said of what will not be done: \(vague)")
    }
    let unknown = try await Program.run(["rebuild", "Slow", "--database", "initech", "-c", config])
    #expect(unknown.code == 2 && unknown.error.contains("there is no [databases.initech]"), "\(unknown)")
    #expect(try await acme.value("SELECT count(*) FROM tidemark.rebuild", as: Int.self) == 0)

    let rebuilt = try await Program.run(["rebuild", "Slow", "--database", "globex", "-c", config])
    #expect(rebuilt.code == 0 && rebuilt.output.contains("Slow:All: rebuilt up to 2,000"), "\(rebuilt)")
    #expect(try await globex.wrongLegs() == 0)
    #expect(try await acme.legs() == 3_040, "the other tenant's is left as it was")
    #expect(try await acme.value("SELECT count(*) FROM tidemark.rebuild", as: Int.self) == 0)
    let log = try await daemon.stop().error.split(separator: "\n")
    #expect(log.contains { $0.contains("replaced the old one") && $0.contains("database=globex") }, "\(log)")
    #expect(!log.contains { $0.contains("ebuil") && $0.contains("database=acme") }, "\(log)")
  }

  // MARK: Several nodes

  enum End: CaseIterable { case killed, told }

  /// Nothing of what the first node had replayed is replayed again, and nothing is left out.
  @Test(arguments: End.allCases)
  func `goes on in another node where it was when its own ends in the middle`(end: End) async throws {
    let (database, _) = try await SlowProjection.prepared(pause: "0.3")
    let config = { @Sendable in
      try Program.settings(database.conninfo, SlowProjection.toml, head: "mode = \"hotcold\"")
    }
    let nodes = [try await DaemonProcess.start(try config()), try await DaemonProcess.start(try config())]
    try await eventually("two nodes") {
      try await database.value("SELECT count(*) FROM tidemark.node AS n WHERE tidemark_internal.is_alive(n.lock_key)")
        == 2
    }
    try await database.script("UPDATE slow SET legs = 0")
    let watching = Task { try await Program.run(["rebuild", "Slow", "-c", try config()]) }
    try await eventually("some pages") { try await database.progress() >= 3_000 }
    let at = try await database.progress()
    #expect(at < 20_000)
    let leader = try await database.leader()
    let ending = try #require(nodes.first { $0.pid == leader })
    let other = try #require(nodes.first { $0.pid != leader })
    ending.send(end == .killed ? SIGKILL : SIGTERM)
    let said = try await ending.outcome()
    #expect(said.code == (end == .told ? 0 : -1), "\(said)")
    try await database.script(
      """
      INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
      SELECT i, gen_random_uuid(), md5((i % 40)::text)::uuid, i, '{}', 'travel' FROM generate_series(20001, 20500) AS i;
      SELECT setval('mt_events_sequence', 20500);
      """)
    try await eventually("the other node works on it") { try await database.leader() == other.pid }
    #expect(try await database.progress() >= at)
    let watched = try await watching.value
    #expect(watched.code == 0 && watched.output.contains("Slow:All: rebuilt up to 20,"), "\(watched)")
    #expect(try await Program.run(["wait", "--timeout", "60s", "-c", try config()]).code == 0)
    #expect(try await database.wrongLegs() == 0)
    #expect(try await database.leftovers() == 0)
    let log = try await other.stop().error.split(separator: "\n").filter { $0.contains("Rebuild started") }
    #expect(log.count == 1 && log[0].contains("resumed=true"), "\(log)")
    let position = log.first?.firstMatch(of: #/position=(\d+)/#).flatMap { Int64($0.output.1) } ?? 0
    #expect(position >= at, "it began at \(position), and the first had come to \(at)")
  }

  /// The transaction that closes a rebuild holds the position while other sessions apply the last events.
  @Test func `does not keep its shard when its node is frozen as it closes`() async throws {
    let (database, _) = try await SlowProjection.prepared(events: 200, pause: "0")
    let config = { @Sendable in
      try Program.settings(database.conninfo, SlowProjection.toml, head: "mode = \"hotcold\"")
    }
    let nodes = [try await DaemonProcess.start(try config()), try await DaemonProcess.start(try config())]
    try await eventually("two nodes, one of which leads") {
      try await database.value(
        """
        SELECT (SELECT count(*) FROM tidemark.node AS n WHERE tidemark_internal.is_alive(n.lock_key)) = 2
           AND EXISTS (SELECT FROM tidemark.shard WHERE name = 'Slow:All' AND condition = 'following')
        """)
    }
    try await database.script("UPDATE slow SET legs = 0")
    try await database.pause("600")
    let watching = Task { try await Program.run(["rebuild", "Slow", "-c", try config()]) }
    try await eventually("it applies the last events, and another of its transactions waits for that") {
      try await database.value(
        """
        SELECT count(*) FILTER (WHERE state = 'active' AND wait_event = 'PgSleep') = 1
           AND count(*) FILTER (WHERE state = 'idle in transaction') >= 1
          FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        """)
    }
    try await eventually("both last longer than the server waits for one that is silent") {
      try await database.value(
        """
        SELECT count(*) = 2 FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '7 s'
        """)
    }
    // The shard may have moved since the nodes met.
    let closing = try await database.value(
      "SELECT split_part(node, '/', 2)::integer FROM tidemark.rebuild WHERE shard = 'Slow:All'", as: Int32.self)
    let frozen = try #require(nodes.first { $0.pid == closing })
    frozen.send(SIGSTOP)
    try await database.pause(nil)
    try await database.append(type: "travel", count: 1)
    let end = try await database.value("SELECT max(seq_id) FROM mt_events", as: Int64.self)
    try await eventually(within: .seconds(45), "the other node goes on with the shard") {
      try await database.position("Slow:All") == end
    }
    frozen.send(SIGCONT)
    let watched = try await watching.value
    #expect(watched.code == 0, "\(watched)")
    #expect(try await Program.run(["wait", "--timeout", "60s", "-c", try config()]).code == 0)
    #expect(try await database.wrongLegs() == 0)
    for node in nodes { #expect(try await node.stop().code == 0) }
    #expect(try await database.leftovers() == 0)
  }

  // MARK: Several operators

  @Test func `that two ask for at once is one, and both see its end`() async throws {
    let (database, _) = try await SlowProjection.prepared(events: 5_000)
    let config = try Program.settings(database.conninfo, SlowProjection.toml)
    let daemon = try await DaemonProcess.start(config)
    try await database.hasNode()
    for _ in 0..<3 {
      try await database.script("UPDATE slow SET legs = 0; DELETE FROM tidemark.rebuild")
      let outcomes = try await Self.together(4) { _ in try await Program.run(["rebuild", "Slow", "-c", config]) }
      for outcome in outcomes {
        #expect(outcome.code == 0 && outcome.output.contains("Slow:All: rebuilt up to 5,000"), "\(outcome)")
      }
      #expect(try await database.wrongLegs() == 0)
    }
    _ = try await daemon.stop()
    #expect(try await database.leftovers() == 0)
  }

  /// The second waits for the first for as long as that takes, and goes on where it is when it dies.
  @Test func `that two do themselves at once is one, also when the first of them is killed`() async throws {
    let (database, _) = try await SlowProjection.prepared(pause: "12")
    try await database.script("UPDATE slow SET legs = 0")
    let config = { @Sendable in try Program.settings(database.conninfo, SlowProjection.toml) }
    let first = try await ProgramProcess.start(["rebuild", "Slow", "--here", "-c", try config()])
    try await eventually("its new table") { try await database.leftovers() > 0 }
    let began = ContinuousClock.now
    let second = try await ProgramProcess.start(["rebuild", "Slow", "--here", "-c", try config()])
    try await eventually("longer than it takes a node to leave") { ContinuousClock.now - began > .seconds(11) }
    first.send(SIGKILL)
    try await database.pause(nil)
    _ = try await first.outcome()
    let ended = try await second.outcome()
    #expect(ended.code == 0 && ended.output.contains("Slow:All: rebuilt up to 20,000"), "\(ended)")
    #expect(ended.error.contains("already running"), "\(ended)")
    #expect(try await database.wrongLegs() == 0)
    #expect(try await database.leftovers() == 0)
  }

  private static func together<T: Sendable>(
    _ count: Int, _ work: @escaping @Sendable (Int) async throws -> T
  ) async throws -> [T] {
    try await withThrowingTaskGroup(of: T.self) { group in
      for number in 0..<count { group.addTask { try await work(number) } }
      var results: [T] = []
      for try await result in group { results.append(result) }
      return results
    }
  }

  // MARK: A server that restarts

  @Test func `goes on by itself when the server restarts in the middle, and so does who watches it`() async throws {
    let cluster = try await PrivateCluster.start(settings: ["fsync": "off"])
    do {
      let (database, _) = try await SlowProjection.prepared(on: cluster, pause: "0.3")
      try await database.script("UPDATE slow SET legs = 0")
      let config = try Program.settings(database.conninfo, SlowProjection.toml)
      let daemon = try await DaemonProcess.start(config)
      try await database.hasNode()
      let watching = Task { try await Program.run(["rebuild", "Slow", "-c", config]) }
      try await eventually("some pages") { try await database.progress() >= 3_000 }
      try await cluster.restart(.immediate)
      let watched = try await watching.value
      #expect(watched.code == 0 && watched.output.contains("Slow:All: rebuilt up to 20,000"), "\(watched)")
      #expect(watched.error.contains("the database is unreachable"), "\(watched)")
      #expect(try await database.wrongLegs() == 0)
      let log = try await daemon.stop().error.split(separator: "\n").filter { $0.contains("Rebuild started") }
      #expect(log.count == 2 && log[1].contains("resumed=true"), "\(log)")
      #expect(try await database.leftovers() == 0)
    } catch {
      await cluster.remove()
      throw error
    }
    await cluster.remove()
  }
}

extension TestDatabase {
  /// The process of the node that works on the one rebuild, once one does.
  fileprivate func leader() async throws -> pid_t? {
    try await value("SELECT split_part(max(node), '/', 2) FROM tidemark.rebuild", as: String?.self).flatMap(pid_t.init)
  }
}
