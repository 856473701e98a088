import Books
import Daemon
import EventStore
import Foundation
import Operator
import Postgres
import ReadModels
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

private func copy(_ name: String, declared: String, written: String) -> String {
  """
  [projections.\(name)]
  tables = ['\(declared)']
  setup = 'CREATE TABLE \(written) ("Seq" bigint PRIMARY KEY)'
  sql = 'INSERT INTO \(written) SELECT seq_id FROM batch'

  """
}

@Suite(.gated) struct `A declared table` {
  @Test(
    arguments: [
      ("Orders", [["orders"], ["Orders"]]), ("orders", [["orders"]]), ("\"Orders\"", [["Orders"]]),
      ("sales.Orders", [["sales", "orders"], ["sales", "Orders"], ["sales.Orders"]]),
      ("Sales.\"Or.ders\"", [["sales", "Or.ders"]]), ("my-table", [["my-table"]]),
      ("Mein Ärger", [["mein Ärger"], ["Mein Ärger"]]),
      ("a.b.c", [["a.b.c"]]), ("\"a\"\"b\"", [["a\"b"]]),
    ] as [(String, [[String]])])
  func `is read as PostgreSQL reads a name, and as it stands`(name: String, readings: [[String]]) {
    #expect(DeclaredTable(name, of: "P").readings == readings)
  }

  /// As people write them: with capitals, dashes, blanks, dots and quotes, beside tables that differ in case alone.
  @Test(arguments: [
    ("Orders", "\"Orders\""), ("\"Orders\"", "\"Orders\""), ("Orders", "Orders"), ("my-orders", "\"my-orders\""),
    ("My Orders", "\"My Orders\""), ("a.b", "\"a.b\""), ("Sales.Orders", "\"Sales\".\"Orders\""),
    ("\"say \"\"hi\"\"\"", "\"say \"\"hi\"\"\""), ("Ünïcode", "\"Ünïcode\""),
  ])
  func `is found by init, check, pages and rebuilds`(declared: String, written: String) async throws {
    let database = try await TestDatabase.make()
    let isQualified = declared.hasPrefix("Sales.")
    try await database.script("CREATE SCHEMA \"Sales\"")
    let toml = copy("P", declared: declared, written: written)
    let settings = try await database.install(toml)
    try await database.connected { session in
      let again = try await Installer(settings: settings).install(session, streamIDType: "uuid")
      #expect(again.isEmpty, "\(again.steps.map(\.title))")
      let shape = try await StoreShape.read(session, schema: "public")
      #expect(try await DefinitionCheck(shape: shape).findings(settings.projections, session) == [])
      // A statement that names the schema cannot be redirected.
      let strays = try await RedirectionCheck(shape: shape).strays(settings.projections[0], database.options)
      #expect(strays.isEmpty == !isQualified, "\(strays)")
    }
    try await database.append(type: "x", count: 3)
    try await database.follow(settings)
    try await database.script("DELETE FROM \(written)")
    for way in isQualified ? [RequestedWay.inPlace] : [.auto, .copy, .inPlace] {
      var request = RebuildTable.Request()
      request.way = way
      #expect(try await database.rebuild(settings, "P", request).state == .done)
      #expect(try await database.value("SELECT count(*) FROM \(raw: written)", as: Int.self) == 3, "\(way)")
    }
  }

  /// Where both exist, the operator says which: what a rebuild empties must not be guessed.
  @Test func `that may be two is told how to be written`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(copy("P", declared: "Orders", written: "\"Orders\""))
    try await database.append(type: "x", count: 3)
    try await database.follow(settings)
    try await database.script("DELETE FROM \"Orders\"; CREATE TABLE orders (\"Seq\" bigint PRIMARY KEY)")
    let config = try Program.settings(database.conninfo, copy("P", declared: "Orders", written: "\"Orders\""))
    for verb in [["init"], ["check"], ["rebuild", "P", "--here", "--yes"]] {
      let outcome = try await Program.run(verb + ["-c", config])
      #expect(
        outcome.code == 1 && outcome.error.contains("Orders may be the table public.orders or public.\"Orders\"")
          && outcome.error.contains("tables = ['public.orders'] or tables = ['public.\"Orders\"']"),
        "\(verb): \(outcome)")
    }
    try await withDaemon(settings) { daemon in
      let stopped = try await daemon.observed.first("the shard stops") { $0.when(.shardStopped)?.failure }
      #expect(stopped.message.hasPrefix("Orders may be the table public.orders"), "\(stopped)")
    }
    // The advice, followed.
    let told = copy("P", declared: "public.\"Orders\"", written: "\"Orders\"")
    let followed = try database.settings(told)
    #expect(try await database.rebuild(followed, "P").state == .done)
    #expect(try await database.value("SELECT count(*) FROM \"Orders\"", as: Int.self) == 3)
  }

  @Test func `of our own is refused`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install("")
    let config = try Program.settings(database.conninfo, copy("P", declared: "tidemark.gap", written: "gap"))
    let outcome = try await Program.run(["check", "-c", config])
    #expect(outcome.code == 1 && outcome.error.contains("tidemark.gap is a table of Tidemark's own"), "\(outcome)")
  }

  @Test func `that does not exist is told with all that was looked for`() async throws {
    let database = try await TestDatabase.make()
    let toml = "[projections.P]\ntables = ['Sales.Orders']\nsql = 'SELECT seq_id FROM batch'\n"
    let settings = try await database.install(toml)
    try await database.follow(settings)
    let row = await #expect(throws: Problem.self) { try await database.rebuild(settings, "P") }
    #expect(
      row?.message
        == "table Sales.Orders of projection P does not exist (looked for sales.orders or \"Sales\".\"Orders\" or \"Sales.Orders\")",
      "\(row!)")
  }
}

@Suite(.gated) struct `A setup that fails` {
  @Test func `takes no other back, and is named with its place`() async throws {
    let database = try await TestDatabase.make()
    let toml =
      copy("A", declared: "a", written: "a") + copy("B", declared: "b", written: "b.missing.b")
      + copy("C", declared: "c", written: "c")
    let config = try Program.settings(database.conninfo, toml)
    let outcome = try await Program.run(["init", "-c", config])
    #expect(outcome.code == 1 && outcome.error.contains("the setup of projection B failed"), "\(outcome)")
    #expect(
      outcome.output.contains("made the tables of projection A")
        && outcome.output.contains("made the tables of projection C"),
      "\(outcome)")
    #expect(
      try await database.value("SELECT to_regclass('a') IS NOT NULL AND to_regclass('c') IS NOT NULL", as: Bool.self))
    // What it says to do: correct it, and run init again.
    let corrected = try await Program.run([
      "init", "-c", try Program.settings(database.conninfo, toml.replacing("b.missing.b", with: "b")),
    ])
    #expect(corrected.code == 0 && corrected.output == "made the tables of projection B\n", "\(corrected)")
  }

  /// With psql as with init: each is in a transaction of its own.
  @Test func `takes no other back in a printed plan either`() async throws {
    let database = try await TestDatabase.make()
    let settings = try database.settings(
      copy("A", declared: "a", written: "a") + copy("B", declared: "b", written: "a")
        + copy("C", declared: "c", written: "c"))
    let script = try await database.connected {
      try await Installer(settings: settings).plan($0, streamIDType: "uuid").script
    }
    let file = try Program.file(script)
    let words = database.conninfo.split(separator: " ").map(String.init).joined(separator: " ")
    let outcome = try await Program.command(["psql", "-X", "-q", "-d", words, "-f", file])
    #expect(outcome.error.contains("relation \"a\" already exists"), "\(outcome)")
    #expect(
      try await database.value("SELECT to_regclass('a') IS NOT NULL AND to_regclass('c') IS NOT NULL", as: Bool.self))
  }

  @Test func `for want of a privilege says where it would make its tables`() async throws {
    let database = try await TestDatabase.make()
    let role = "\(database.name)_role"
    _ = try await database.install("")
    try await database.script(
      "CREATE ROLE \(role) LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA tidemark TO \(role); GRANT SELECT ON ALL TABLES IN SCHEMA tidemark, public TO \(role)"
    )
    let conninfo = database.conninfo.replacing("user=postgres", with: "user=\(role)")
    let config = try Program.settings(conninfo, copy("A", declared: "a", written: "a"))
    let outcome = try await Program.run(["init", "-c", config])
    #expect(outcome.code == 1 && outcome.error.contains("GRANT CREATE ON SCHEMA \"public\" TO"), "\(outcome)")
    try await database.script("GRANT CREATE ON SCHEMA public TO \(role)")
    #expect(try await Program.run(["init", "-c", config]).code == 0)
  }
}
