import Foundation
import Postgres
import Processes
import Sandbox
import Processes
import TestSupport
import Testing

/// What an operator sees and types, on a real terminal.
@Suite(.gated) struct `A rebuild on a terminal` {
  private static let ctrlC = "\u{3}"
  private static let ctrlD = "\u{4}"

  private static let toml =
    (1...3).map { n in
      """
      [projections.P\(n)]
      tables = ["p\(n)"]
      setup = "CREATE TABLE p\(n) (seq bigint PRIMARY KEY)"
      sql = "INSERT INTO p\(n) SELECT seq_id FROM batch"

      """
    }.joined() + """
      [projections.Nothing]
      sql = "SELECT count(*) FROM batch"
      """

  /// Every read model has one row too many, which only a rebuild takes away.
  private func prepared() async throws -> (TestDatabase, config: String) {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.toml)
    try await database.append(type: "x", count: 5)
    try await database.follow(settings)
    for n in 1...3 { try await database.script("INSERT INTO p\(n) VALUES (-1)") }
    return (database, try Program.settings(database.conninfo, Self.toml))
  }

  private func counts(_ database: TestDatabase) async throws -> [Int] {
    var counts: [Int] = []
    for n in 1...3 { counts.append(try await database.value("SELECT count(*) FROM \(identifier: "p\(n)")")) }
    return counts
  }

  private func choosing(_ config: String, _ more: String...) async throws -> TerminalSession {
    let terminal = try await TerminalSession(
      [Program.path, "rebuild", "-i", "--here", "--fewer-rows", "-c", config] + more)
    try await terminal.says("Which ones? Numbers separated by spaces: ")
    return terminal
  }

  @Test func `is of those that are chosen from the list, each once`() async throws {
    let (database, config) = try await prepared()
    let terminal = try await TerminalSession([Program.path, "rebuild", "-i", "--here", "--fewer-rows", "-c", config])
    try await terminal.says("1  P1:All  p1\r\n2  P2:All  p2\r\n3  P3:All  p3\r\nWhich ones?")
    terminal.type(" 3, 1 3\n")
    try await terminal.says("P3:All: rebuilt up to 5")
    try await terminal.says("P1:All: rebuilt up to 5")
    #expect(try await terminal.end() == .exited(0))
    #expect(!terminal.said.contains("P3:All: rebuilt"))
    #expect(try await counts(database) == [5, 6, 5])
  }

  @Test func `asks again after what it does not understand, and says why`() async throws {
    let (database, config) = try await prepared()
    let terminal = try await choosing(config)
    for wrong in ["4", "0", "1 x", "-1", "P9", "1.5", "99999999999999999999"] {
      terminal.type("\(wrong)\n")
      let word = wrong.split(separator: " ").last!
      try await terminal.says("expected numbers from 1 to 3, found \"\(word)\"\r\nWhich ones?")
    }
    #expect(try await counts(database) == [6, 6, 6])
    terminal.type("2\n")
    try await terminal.says("P2:All: rebuilt up to 5")
    #expect(try await terminal.end() == .exited(0))
    #expect(try await counts(database) == [6, 5, 6])
  }

  @Test(arguments: ["\n", "  \n", ctrlD])
  func `of nothing changes nothing, and says so`(typed: String) async throws {
    let (database, config) = try await prepared()
    let terminal = try await choosing(config)
    terminal.type(typed)
    try await terminal.says("nothing was chosen; nothing was changed")
    #expect(try await terminal.end() == .exited(1))
    #expect(try await counts(database) == [6, 6, 6])
    #expect(try await database.value("SELECT count(*) FROM tidemark.rebuild", as: Int.self) == 0)
  }

  @Test func `is left by Ctrl-C at the question like any program`() async throws {
    let (database, config) = try await prepared()
    let terminal = try await choosing(config)
    terminal.type(Self.ctrlC)
    #expect(try await terminal.end() == .signaled(SIGINT))
    #expect(try await counts(database) == [6, 6, 6])
  }

  @Test func `shows how far it is, and is left by Ctrl-C with a word on how to go on`() async throws {
    let (database, _) = try await SlowProjection.prepared(pause: "0.3")
    let config = try Program.settings(database.conninfo, SlowProjection.toml)
    let terminal = try await choosing(config)
    terminal.type("1\n")
    try await terminal.says("of 20,000 (")
    try await terminal.says("━")
    try await eventually("some pages") { try await database.progress() >= 1_000 }
    terminal.type(Self.ctrlC)
    try await terminal.says("interrupted; the same command continues from here, --abort removes the new tables")
    #expect(try await terminal.end() == .exited(1))
    #expect(try await database.wrongLegs() == 0)
    try await database.pause(nil)
    let again = try await choosing(config)
    again.type("1\n")
    try await again.says("Slow:All: continues at ")
    try await again.says("Slow:All: rebuilt up to 20,000")
    #expect(try await again.end() == .exited(0))
    #expect(try await database.wrongLegs() == 0)
  }

  @Test(arguments: [("yes\n", 5), ("y\n", 6), ("\n", 6), (ctrlD, 6)])
  func `in place is asked for by name`(typed: String, rows: Int) async throws {
    let (database, config) = try await prepared()
    let terminal = try await choosing(config, "--in-place")
    terminal.type("1\n")
    try await terminal.says("--in-place empties p1 now")
    try await terminal.says("Type yes to continue: ")
    terminal.type(typed)
    try await terminal.says(rows == 5 ? "P1:All: rebuilt up to 5" : "nothing was changed")
    #expect(try await terminal.end() == .exited(rows == 5 ? 0 : 1))
    #expect(try await counts(database) == [rows, 6, 6])
  }

  /// The question is for the person, the answer for the program that reads it.
  @Test func `leaves standard output to the JSON`() async throws {
    let (_, config) = try await prepared()
    let file = try Program.file("")
    let terminal = try await TerminalSession([
      "/bin/sh", "-c", "exec \(Program.path) rebuild -i --here --json --fewer-rows -c \(config) > \(file)",
    ])
    try await terminal.says("Which ones?")
    terminal.type("1\n")
    #expect(try await terminal.end() == .exited(0))
    let json = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: file)))
    #expect(((json as? [[String: Any]])?.first?["shard"] as? String) == "P1:All", "\(json)")
  }
}
