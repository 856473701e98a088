import Books
import Daemon
import Foundation
import Operator
import Postgres
import Rules
import Telemetry
import TestSupport
import Testing

/// A sequence set far ahead, by a cut-over or a migration: the mark and the pages cross the numbers that no event has by looks that cost
/// the same however many they are.
@Suite(.gated) struct `A sequence that jumps` {
  @Test(arguments: ["quick", "rich"])
  func `costs each kind of projection a page or two, and the store one gap at most`(append: String) async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for event in events: note("seen", event["seq_id"])
          return applied(page)
      """)
    let settings = try await database.install(
      """
      [projections.All]
      tables = ["seen"]
      setup = "CREATE TABLE seen (seq bigint PRIMARY KEY)"
      sql = "INSERT INTO seen SELECT seq_id FROM batch"
      [projections.Each]
      tables = ["each"]
      setup = "CREATE TABLE each (seq bigint PRIMARY KEY)"
      [projections.Each.on]
      x = "INSERT INTO each VALUES (:seq_id)"
      [projections.Plug]
      exec = ["\(plugin)"]
      """, eventStore: "append = \"\(append)\"\ngap_grace = \"300ms\"")
    try await database.append(type: "x", count: 3)
    let far = 3_000_000_000_000_000
    let expected = ["1", "2", "3", "\(far + 1)", "\(far + 2)", "\(2 * far + 1)"]
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.script("SELECT setval('mt_events_sequence', \(far))")
      try await database.append(type: "x", count: 2)
      try await daemon.caughtUp()
      // With nothing of this type in sight, a page before the next jump is empty too.
      try await database.append(type: "y", count: 1)
      try await daemon.caughtUp()
      try await database.script("SELECT setval('mt_events_sequence', \(2 * far))")
      try await database.append(type: "x", count: 1)
      try await daemon.caughtUp()
      let pages = daemon.observed.all.filter { $0.fact == .pageApplied }
      #expect(pages.count < 60, "\(pages.count) pages for seven events and three projections")
    }
    for table in ["seen", "each"] {
      let rows = try await database.value(
        "SELECT string_agg(seq::text, ' ' ORDER BY seq) FROM \(raw: table) WHERE seq <> \(far + 3)", as: String.self)
      #expect(rows.split(separator: " ").map(String.init) == expected, "\(table)")
    }
    #expect(programs.lines("seen").filter { $0 != "\(far + 3)" } == expected)
    let gaps = try await database.value("SELECT count(*) FROM tidemark.gap", as: Int.self)
    #expect(gaps == (append == "rich" ? 2 : 0))
    let row = try await database.rebuild(settings, "All")
    #expect(row.state == .done, "\(row)")
    #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 7)
  }

  @Test func `and a store that starts far up are followed at once`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [projections.All]
      tables = ["seen"]
      setup = "CREATE TABLE seen (seq bigint PRIMARY KEY)"
      sql = "INSERT INTO seen SELECT seq_id FROM batch"
      """)
    let first = 4_000_000_000_000_000_000
    try await database.script("ALTER SEQUENCE mt_events_sequence START \(first) RESTART \(first)")
    try await database.append(type: "x", count: 3)
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    #expect(
      try await database.value("SELECT min(seq) || ' ' || max(seq) FROM seen", as: String.self)
        == "\(first) \(first + 2)")
  }
}
