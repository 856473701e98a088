import Daemon
import Foundation
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
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
      #expect(try await Program.run(["stop", "Sum", "-c", config]).output == "Sum:All stopped\n")
      _ = try await daemon.observed.first(within: .seconds(5), "it waits") { observation -> Bool? in
        if observation.fact == .shardHalted, let name = observation.shard, observation[.for] == nil {
          name.projection == "Sum" ? true : nil
        } else {
          nil
        }
      }
      try await database.append(type: "n", count: 2, data: #"{"n": "1"}"#)
      try await daemon.caughtUp(["Each:All"])
      #expect(try await database.position("Sum:All") == 2)
      try await eventually("status shows it") { try await condition("Sum:All") == "stopped" }
    }
    try await withDaemon(settings) { daemon in
      _ = try await daemon.observed.first("it waits again") { $0.when(.shardHalted) }
      #expect(try await Program.run(["start", "Sum:All", "-c", config]).code == 0)
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 4)

      #expect(try await Program.run(["pause", "--all", "--for", "2s", "-c", config]).code == 0)
      try await eventually("both pause") {
        daemon.observed.all.count { $0.fact == .shardHalted && $0[.for] != nil } == 2
      }
      try await database.append(type: "n", count: 2, data: #"{"n": "1"}"#)
      // By itself, when the two seconds are over.
      try await daemon.caughtUp()
      #expect(daemon.observed.all.count { $0.fact == .shardHalted && $0[.for] != nil } == 2)
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
        daemon.observed.all.count { $0.fact == .shardHalted } == 2
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
      _ = try await daemon.observed.first("it stops") { $0.when(.shardStopped) }
      #expect(daemon.observed.all.count { $0.fact == .shardHalted } == 1)
    }
  }

  @Test func `by a rule for all shows what failed, and tries afresh when an operator says so`() async throws {
    let database = try await TestDatabase.make()
    let projections = Numbers.batch + Numbers.perEvent.replacing("on.n", with: "on.m")
    let settings = try await database.install("[[on_error]]\nsqlstate = \"22P02\"\ndo = \"stop all\"\n" + projections)
    let config = try Program.settings(database.conninfo, projections)
    try await database.append(type: "n", count: 1, data: #"{"n": "bad"}"#)
    try await withDaemon(settings) { daemon in
      for round in 1...2 {
        try await eventually("both wait, for the same rule, in round \(round)") {
          daemon.observed.all.count { $0.fact == .shardHalted } == 2 * round
        }
        try await eventually("status says what failed") {
          try await database.value(
            """
            SELECT count(*) FROM tidemark.shard
             WHERE condition = 'stopped' AND reason LIKE 'by a rule, for Sum:All: invalid input syntax for type integer%'
            """, as: Int.self) == 2
        }
        // Nothing was mended yet.
        if round == 1 { #expect(try await Program.run(["start", "--all", "-c", config]).code == 0) }
      }
    }
  }

  @Test func `after a failure is not woken by a rule of another shard for all`() async throws {
    let database = try await TestDatabase.make()
    let projections = Numbers.batch + Numbers.perEvent.replacing(":data->>'n'", with: ":data->>'m'")
    let settings = try await database.install(
      """
      [[on_error]]
      projection = "Sum"
      do = "stop"
      [[on_error]]
      projection = "Each"
      do = ["pause all 300ms", "stop"]

      """ + projections)
    let config = try Program.settings(database.conninfo, projections)
    try await database.append(type: "n", count: 1, data: #"{"n": "bad", "m": "1"}"#)
    try await withDaemon(settings) { daemon in
      func stops(_ projection: String) async throws {
        _ = try await daemon.observed.first("\(projection) stops") { observation -> Bool? in
          if observation.fact == .shardStopped, let shard = observation.shard, shard.projection == projection {
            true
          } else {
            nil
          }
        }
      }
      try await stops("Sum")
      // Mended, so that it would go through if it were tried again.
      try await database.script("UPDATE mt_events SET data = '{\"n\": \"1\", \"m\": \"1\"}'")
      try await database.append(type: "n", count: 1, data: #"{"n": "2", "m": "bad"}"#)
      // After the pause.
      try await stops("Each")
      try await database.script("UPDATE mt_events SET data = '{\"n\": \"1\", \"m\": \"1\"}'")
      #expect(try await Program.run(["start", "Each", "-c", config]).code == 0)
      try await daemon.caughtUp(["Each:All"])
      #expect(try await database.position("Sum:All") == 0)
      #expect(try await Program.run(["start", "Sum", "-c", config]).code == 0)
      try await daemon.caughtUp()
    }
  }

  @Test func `is heard while the books wait for the shard's position`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    let config = try Program.settings(database.conninfo, Numbers.batch)
    try await withDaemon(settings) { daemon in
      try await database.append(type: "n", count: 3, data: #"{"n": "1"}"#)
      try await daemon.caughtUp()
      let holder = try await Session.connect(database.options)
      try await holder.script("BEGIN; SELECT FROM mt_event_progression WHERE name = 'Sum:All' FOR UPDATE")
      // The second event seems to have come after its number was passed.
      try await database.script("INSERT INTO tidemark.gap (first_seq_id, last_seq_id, reason) VALUES (2, 2, 'grace')")
      try await eventually("the books wait") {
        try await database.value(
          "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
          as: Int.self) > 0
      }
      #expect(try await Program.run(["stop", "Sum", "-c", config]).code == 0)
      _ = try await daemon.observed.first("it waits") { $0.when(.shardHalted) }
      #expect(
        try await database.value(
          "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
          as: Int.self) > 0, "the books still wait")
      await holder.close()
    }
  }

  @Test func `over a restart applies nothing until the request could be read`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    let config = try Program.settings(database.conninfo, Numbers.batch)
    #expect(try await Program.run(["stop", "Sum", "-c", config]).code == 0)
    try await database.append(type: "n", count: 1, data: #"{"n": "1"}"#)
    try await database.script("ALTER TABLE tidemark.shard RENAME desired_until TO hidden")
    try await withDaemon(settings) { daemon in
      for mark: Int64 in [1, 2] {
        _ = try await daemon.observed.first("the mark moves") { observation -> Bool? in
          if observation.fact == .markMoved, let to = observation[.mark], to >= mark { true } else { nil }
        }
        try await database.append(type: "n", count: 1, data: #"{"n": "1"}"#)
      }
      try await database.script("ALTER TABLE tidemark.shard RENAME hidden TO desired_until")
      _ = try await daemon.observed.first("it waits") { $0.when(.shardHalted) }
      #expect(!daemon.observed.all.contains { $0.fact == .pageApplied })
    }
  }

  @Test(arguments: [
    Numbers.batch.replacing("'n')::int", with: "'n')::int + 0"),
    Numbers.batch.replacing("events = [\"n\"]", with: "events = [\"n\", \"m\"]"),
    Numbers.batch.replacing("events = [\"n\"]", with: ""),
  ])
  func `with changed statements or events says so once`(projection: String) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    let changed = try database.settings(projection)
    @Sendable func changes(_ daemon: RunningDaemon) -> Int {
      daemon.observed.all.count { $0.fact == .definitionChanged }
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
