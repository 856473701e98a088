import Daemon
import EventStore
import Foundation
import Postgres
import Projection
import Sandbox
import Settings
import Telemetry
import Testing

@Suite(.gated) struct `A shard that is told to wait` {
  @Test func `by an operator waits within a second, over a restart too, and goes on when told`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch + Numbers.perEvent)
    let config = try Program.settings(database.conninfo, Numbers.batch + Numbers.perEvent)
    @Sendable func condition(_ shard: String) async throws -> String? {
      try await database.value("SELECT (SELECT condition FROM tidemark.shard WHERE name = \(shard))", as: String?.self)
    }
    try await withDaemon(settings) { daemon in
      try await database.append(type: "n", count: 2, data: #"{"n": "1"}"#)
      try await daemon.caughtUp()
      #expect(try await Program.run(["stop", "Sum", "-c", config]).output == "Sum:All stops\n")
      _ = try await daemon.observed.first(within: .seconds(5), "it waits") { observation -> Bool? in
        if case .shardHalted(let name, _, nil) = observation { name.projection == "Sum" ? true : nil } else { nil }
      }
      try await database.append(type: "n", count: 2, data: #"{"n": "1"}"#)
      try await daemon.caughtUp(["Each:All"])
      #expect(try await database.position("Sum:All") == 2)
      try await eventually("status shows it") { try await condition("Sum:All") == "stopped" }
    }
    try await withDaemon(settings) { daemon in
      _ = try await daemon.observed.first("it waits again") { if case .shardHalted = $0 { true } else { nil } }
      #expect(try await Program.run(["start", "Sum:All", "-c", config]).code == 0)
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 4)

      #expect(try await Program.run(["pause", "--all", "--for", "2s", "-c", config]).code == 0)
      try await eventually("both pause") {
        daemon.observed.all.count { if case .shardHalted(_, _, .some) = $0 { true } else { false } } == 2
      }
      try await database.append(type: "n", count: 2, data: #"{"n": "1"}"#)
      // By itself, when the two seconds are over.
      try await daemon.caughtUp()
      #expect(daemon.observed.all.count { if case .shardHalted(_, _, .some) = $0 { true } else { false } } == 2)
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 6)
    }
  }

  @Test func `by a rule for all, all wait`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      "[[on_error]]\nsqlstate = \"22P02\"\ndo = \"stop all\"\n" + Numbers.batch
        + Numbers.perEvent.replacing("on.n", with: "on.m"))
    let config = try Program.settings(database.conninfo, Numbers.batch + Numbers.perEvent)
    try await database.append(type: "n", count: 1, data: #"{"n": "bad"}"#)
    try await withDaemon(settings) { daemon in
      try await eventually("both wait") {
        daemon.observed.all.count { if case .shardHalted = $0 { true } else { false } } == 2
      }
      try await database.script("UPDATE mt_events SET data = '{\"n\": \"1\"}'")
      #expect(try await Program.run(["start", "--all", "-c", config]).code == 0)
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 1)
    }
  }

  @Test func `by a rule for a time, takes the next step of its chain after it, and says so once`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      "[[on_error]]\nsqlstate = \"22P02\"\ndo = [\"pause all 300ms\", \"stop\"]\n" + Numbers.batch)
    try await database.append(type: "n", count: 1, data: #"{"n": "bad"}"#)
    try await withDaemon(settings) { daemon in
      _ = try await daemon.observed.first("it stops") { if case .shardStopped = $0 { true } else { nil } }
      #expect(daemon.observed.all.count { if case .shardHalted = $0 { true } else { false } } == 1)
    }
  }

  @Test func `with changed statements says so once`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    let changed = try database.settings(Numbers.batch.replacing("'n')::int", with: "'n')::int + 0"))
    @Sendable func changes(_ daemon: RunningDaemon) -> Int {
      daemon.observed.all.count { if case .definitionChanged = $0 { true } else { false } }
    }
    try await withDaemon(settings) { daemon in
      try await database.append(type: "n", count: 1, data: #"{"n": "1"}"#)
      try await daemon.caughtUp()
      #expect(changes(daemon) == 0)
    }
    for expected in [1, 0] {
      try await withDaemon(changed) { daemon in
        try await database.append(type: "n", count: 1, data: #"{"n": "1"}"#)
        try await daemon.caughtUp()
        #expect(changes(daemon) == expected)
      }
    }
  }
}
