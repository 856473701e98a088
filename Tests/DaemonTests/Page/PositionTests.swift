import Daemon
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

/// The row of the progression that says how far a shard has come.
@Suite(.gated) struct `The position of a shard` {
  @Test func `is inserted with its first page, moves with each later one, and says when`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    let config = try Program.settings(database.conninfo, Numbers.batch)
    @Sendable func moved() async throws -> String {
      try await database.value("SELECT last_updated::text FROM mt_event_progression WHERE name = 'Sum:All'")
    }
    #expect(try await database.position("Sum:All") == nil)
    try await withDaemon(settings) { daemon in
      try await database.append(type: "n", count: 3, data: #"{"n": "1"}"#)
      try await daemon.caughtUp()
      #expect(try await database.position("Sum:All") == 3)
      let first = try await moved()
      try await database.append(type: "n", count: 2, data: #"{"n": "1"}"#)
      try await daemon.caughtUp()
      #expect(try await database.position("Sum:All") == 5)
      let later = try await database.value(
        "SELECT last_updated > \(first)::timestamptz FROM mt_event_progression WHERE name = 'Sum:All'", as: Bool.self)
      #expect(later)
    }
    #expect(try await Program.run(["wait", "Sum", "--timeout", "1s", "-c", config]).code == 0)
  }

  @Test func `is that of the page where the page is exactly full`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    let full = PageWidth.Bounds.live.initial
    try await database.append(type: "n", count: Int(full), data: #"{"n": "1"}"#)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      _ = try await daemon.observed.first("the page is told") { $0.when(.pageApplied) }
      let ceilings = daemon.observed.all.compactMap { $0.when(.pageApplied)?[.ceiling] }
      #expect(ceilings == [full])
      try await database.append(type: "n", count: 1, data: #"{"n": "1"}"#)
      try await daemon.caughtUp()
      #expect(try await database.position("Sum:All") == full + 1)
      #expect(try await database.value("SELECT count(DISTINCT seq) FROM sum", as: Int64.self) == full + 1)
    }
  }

  @Test func `is not mistaken for that of a name which begins with its own`() async throws {
    let longer = Numbers.batch.replacing("Sum", with: "SumOfAll").replacing("sum", with: "sum_of_all")
    let projections = Numbers.batch + longer
    let database = try await TestDatabase.make()
    let settings = try await database.install(projections)
    let config = try Program.settings(database.conninfo, projections)
    try await withDaemon(settings) { daemon in
      _ = try await daemon.observed.first("a node runs it") { observation in
        observation.shard?.projection == "Sum" ? observation.when(.shardStarted) : nil
      }
      #expect(try await Program.run(["stop", "Sum", "-c", config]).output == "Sum:All stopped\n")
      _ = try await daemon.observed.first("it stops") { observation in
        observation.shard?.projection == "Sum" ? observation.when(.shardHalted) : nil
      }
      try await database.append(type: "n", count: 3, data: #"{"n": "1"}"#)
      try await database.append(type: "n", count: 1, data: #"{"n": "bad"}"#)
      try await daemon.caughtUp(["SumOfAll:All"])
      #expect(try await database.position("Sum:All") ?? 0 == 0)
      #expect(try await database.position("SumOfAll:All") == 4)
      let letters = try await Program.run(["dead-letters", "list", "--shard", "Sum", "-c", config])
      #expect(letters.output == "no dead letters\n", "\(letters)")
    }
  }
}
