import Daemon
import Foundation
import Postgres
import Sandbox
import Settings
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
      try await Program.run(["pause", "Seen", "--database", "acme", "-c", config]).output == "acme: Seen:All pauses\n")
    try await eventually("the pause") {
      try await acme.value("SELECT condition FROM tidemark.shard WHERE name = 'Seen:All'") == "paused"
    }
    #expect(try await globex.value("SELECT condition FROM tidemark.shard WHERE name = 'Seen:All'") != "paused")

    let vague = try await Program.run(["dead-letters", "list", "-c", config])
    #expect(vague.code == 2)
    #expect(vague.error.contains("say --database NAME"))
    #expect(vague.error.contains("acme, globex"))
    let unknown = try await Program.run(["status", "--database", "initech", "-c", config])
    #expect(unknown.code == 2)
    #expect(unknown.error.contains("there is no [databases.initech]"))
    let log = try await daemon.stop().error.split(separator: "\n")
    #expect(log.contains { $0.contains("Shard started") && $0.contains("database=globex") })
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
    #expect(log.contains { $0.contains("A database cannot be followed") && $0.contains("database=empty") })
    #expect(log.contains { $0.contains("Cannot reach the database") && $0.contains("database=globex") })
  }
}
