import Daemon
import Foundation
import Postgres
import Sandbox
import Settings
import TestSupport
import Testing

private let projection = """
  [projections.Seen]
  tables = ["seen"]
  setup = "CREATE TABLE seen (seq bigint PRIMARY KEY)"
  sql = "INSERT INTO seen SELECT seq_id FROM batch"
  """

@Suite(.gated) struct `Several databases` {
  /// A settings file for these, by name.
  private func config(_ databases: [(String, String)], head: String = "", _ rest: String = projection) throws -> String
  {
    let tables = databases.map { "[databases.\($0.0)]\nurl = \"\($0.1)\"\n" }.joined()
    return try Program.file("\(head)\n\(tables)[event_store]\nappend = \"quick\"\n\(rest)\n")
  }

  private func seen(_ database: TestDatabase) async throws -> Int {
    try await database.value("SELECT count(*) FROM seen")
  }

  @Test func `are each followed, and each verb says which it means`() async throws {
    let acme = try await TestDatabase.make()
    let globex = try await TestDatabase.make()
    let config = try config([("acme", acme.conninfo), ("globex", globex.conninfo)])
    let made = try await Program.run(["init", "-c", config])
    #expect(made.code == 0)
    #expect(made.output.contains("acme: made the tables of projection Seen"))
    #expect(made.output.contains("globex: made the tables of projection Seen"))
    #expect(try await Program.run(["check", "-c", config]).output.contains("globex: ok: 1 projection"))

    let daemon = try await DaemonProcess.start(config)
    try await acme.append(type: "a", count: 3)
    try await globex.append(type: "a", count: 5)
    #expect(try await Program.run(["wait", "--timeout", "30s", "-c", config]).code == 0)
    #expect(try await seen(acme) == 3)
    #expect(try await seen(globex) == 5)

    let status = try await Program.run(["status", "-c", config])
    #expect(status.output.contains("database acme\nhigh-water mark "))
    #expect(status.output.contains("database globex\nhigh-water mark "))
    let one = try await Program.run(["status", "--json", "--database", "globex", "-c", config])
    #expect(one.output.contains("\"database\" : \"globex\""))
    #expect(!one.output.contains("acme"))

    #expect(
      try await Program.run(["pause", "Seen", "--database", "acme", "-c", config]).output == "acme: Seen:All paused\n")
    try await eventually("the pause") {
      try await acme.value("SELECT condition FROM tidemark.shard WHERE name = 'Seen:All'") == "paused"
    }
    #expect(try await globex.value("SELECT condition FROM tidemark.shard WHERE name = 'Seen:All'") != "paused")

    let vague = try await Program.run(["dead-letters", "list", "-c", config])
    #expect(vague.code == 2)
    #expect(vague.error.contains("name one with --database NAME"))
    #expect(vague.error.contains("acme, globex"))
    let unknown = try await Program.run(["status", "--database", "initech", "-c", config])
    #expect(unknown.code == 2)
    #expect(unknown.error.contains("there is no [databases.initech]"))
    let log = try await daemon.stop().error.split(separator: "\n")
    #expect(log.contains { $0.contains("Shard started") && $0.contains("database=globex") })
  }

  @Test func `go to nodes as wholes, each to one, and go on elsewhere when it is killed`() async throws {
    let projections = (1...3).map { n in
      """
      [projections.P\(n)]
      tables = ["p\(n)"]
      setup = "CREATE TABLE p\(n) (seq bigint PRIMARY KEY)"
      sql = "INSERT INTO p\(n) SELECT seq_id FROM batch"

      """
    }.joined()
    var databases: [(String, TestDatabase)] = []
    for name in ["a", "b", "c", "d"] { databases.append((name, try await TestDatabase.make())) }
    let config = try config(databases.map { ($0.0, $0.1.conninfo) }, head: "mode = \"hotcold\"", projections)
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    // Settings of its own for each, so that their processes can be told apart.
    let second = try Program.file(try String(contentsOfFile: config, encoding: .utf8))
    let nodes = [try await DaemonProcess.start(config), try await DaemonProcess.start(second)]

    /// By database, the nodes that run its shards, and whether all three run.
    func leaders() async throws -> [Set<String>] {
      var leaders: [Set<String>] = []
      for (_, database) in databases {
        let rows = try await database.connected { session in
          try await session.execute(
            """
            SELECT s.node FROM tidemark.shard AS s JOIN tidemark.node AS n ON n.name = s.node
             WHERE s.condition <> 'ended' AND tidemark_internal.is_alive(n.lock_key)
            """
          ).rows.map { try $0.get("node", as: String.self) }
        }
        leaders.append(rows.count == 3 ? Set(rows) : [])
      }
      return leaders
    }
    try await eventually("every database on one of two nodes") {
      let leaders = try await leaders()
      return leaders.allSatisfy { $0.count == 1 } && Set(leaders).count == 2
    }
    // The books of a node may name it a moment before it has the lock.
    try await eventually("one node holds the lock of the database") {
      try await databases[0].1.value(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4444 AND classid = 0 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        as: Int.self) == 1
    }

    for (_, database) in databases { try await database.append(type: "x", count: 2) }
    nodes[0].send(SIGKILL)
    _ = try await nodes[0].outcome()
    for (_, database) in databases { try await database.append(type: "x", count: 2) }
    for (name, database) in databases {
      try await eventually("all of database \(name)") {
        try await database.value(
          "SELECT (SELECT count(*) FROM p1) + (SELECT count(*) FROM p2) + (SELECT count(*) FROM p3)", as: Int.self)
          == 12
      }
    }
    #expect(try await leaders().allSatisfy { $0.count <= 1 })
    #expect(try await nodes[1].stop().code == 0)
  }

  @Test func `that break in a way that only the server knows do not end the others, and heal`() async throws {
    let acme = try await TestDatabase.make()
    let globex = try await TestDatabase.make()
    let config = try config([("acme", acme.conninfo), ("globex", globex.conninfo)])
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    let log = try Program.file("")
    let daemon = try await DaemonProcess.start(config, prefix: ["sh", "-c", "exec \"$@\" 2>> \(log)", "sh"])
    try await acme.append(type: "a", count: 1)
    try await eventually("it is followed") { try await seen(acme) == 1 }
    try await acme.script("DROP VIEW tidemark.batch; CREATE TABLE tidemark.batch (seq_id bigint)")
    try await eventually("it is let go, with the reason") {
      try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n").contains {
        $0.contains("is not a view") && $0.contains("database=acme")
      }
    }
    try await globex.append(type: "a", count: 2)
    try await eventually("the other is followed") { try await seen(globex) == 2 }
    try await acme.script("DROP TABLE tidemark.batch")
    try await eventually(within: .seconds(60), "the mended one has its view again") {
      try await acme.value("SELECT to_regclass('tidemark.batch') IS NOT NULL", as: Bool.self)
    }
    try await acme.append(type: "a", count: 2)
    try await eventually("and is followed") { try await seen(acme) == 3 }
    #expect(try await daemon.stop().code == 0)
  }

  @Test func `that are away or not as they should be do not disturb the others`() async throws {
    let acme = try await TestDatabase.make()
    let empty = try await TestDatabase.make()
    let cluster = try await PrivateCluster.start(settings: ["fsync": "off"])
    let globex = try await TestDatabase.make(on: cluster)
    let config = try config([("acme", acme.conninfo), ("empty", empty.conninfo), ("globex", globex.conninfo)])
    for name in ["acme", "globex"] {
      #expect(try await Program.run(["init", "--database", name, "-c", config]).code == 0)
    }
    await cluster.stop(.fast)
    // Ready although one of them is away and another has no event store.
    let daemon = try await DaemonProcess.start(config)
    try await acme.append(type: "a", count: 2)
    #expect(try await Program.run(["wait", "--database", "acme", "--timeout", "30s", "-c", config]).code == 0)
    let status = try await Program.run(["status", "-c", config])
    #expect(status.code == 1)
    #expect(status.output.contains("database acme"))
    #expect(status.error.contains("database empty: "))
    #expect(status.error.contains("database globex: cannot reach the database"))

    try await cluster.startServer()
    try await globex.append(type: "a", count: 4)
    try await eventually("globex to be followed") { (try? await seen(globex)) == 4 }
    try await acme.append(type: "a", count: 1)
    try await eventually("acme to be followed all the while") { try await seen(acme) == 3 }
    let log = try await daemon.stop().error.split(separator: "\n")
    #expect(log.contains { $0.contains("The daemon cannot follow a database") && $0.contains("database=empty") })
    #expect(log.contains { $0.contains("Database unreachable") && $0.contains("database=globex") })
  }
}
