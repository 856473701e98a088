import Books
import Daemon
import Foundation
import Glibc
import Operator
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

/// A request is a row; what counts is whether a shard has obeyed it, and an operator who is not told goes on as if it had.
@Suite(.gated) struct `What an operator is told of a request` {
  private func condition(_ database: TestDatabase) async throws -> String? {
    try await database.value("SELECT (SELECT condition FROM tidemark.shard WHERE name = 'Sum:All')", as: String?.self)
  }

  @Test func `is that no node runs; the one that starts obeys, and then it is told that too`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    let config = try Program.settings(database.conninfo, Numbers.batch)
    let paused = try await Program.run(["pause", "Sum", "-c", config])
    #expect(paused.code == 0 && paused.output == "Sum:All pauses when a node starts that runs it; none runs now\n")
    try await withDaemon(settings) { daemon in
      try await eventually("it waits") { try await condition(database) == "paused" }
      try await database.append(type: "n", count: 1, data: #"{"n": "1"}"#)
      #expect(try await Program.run(["resume", "Sum", "-c", config]).output == "Sum:All resumed\n")
      try await daemon.caughtUp()
      for round in 1...2 {
        let stopped = try await Program.run(["stop", "Sum", "-c", config])
        #expect(stopped.output == "Sum:All stopped\n", "\(round): \(stopped)")
        #expect(try await condition(database) == "stopped")
      }
    }
  }

  @Test func `is that a shard in a long page has not obeyed yet, and that it has when the page ends`() async throws {
    let database = try await TestDatabase.make()
    let projection = Numbers.batch.replacing("FROM batch", with: "FROM batch, pg_sleep(2)")
    let settings = try await database.install(projection)
    let config = try Program.settings(database.conninfo, projection)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.append(type: "n", count: 1, data: #"{"n": "1"}"#)
      try await eventually("a page runs") {
        try await database.value(
          "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'",
          as: Int.self) == 1
      }
      let late = try await Program.run(["stop", "Sum", "--timeout", "200ms", "-c", config])
      #expect(late.code == 4 && late.output.isEmpty, "\(late)")
      #expect(late.error.contains("not stopped after 200ms: Sum:All is following on test"), "\(late)")
      // As the hint says.
      let stopped = try await Program.run(["stop", "Sum", "--timeout", "1m", "-c", config])
      #expect(stopped.code == 0 && stopped.output == "Sum:All stopped\n", "\(stopped)")
      #expect(try await database.position("Sum:All") == 1)
    }
  }

  @Test func `by status is that the state of a killed node is stale`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(Numbers.batch)
    let config = try Program.settings(database.conninfo, Numbers.batch)
    let daemon = try await DaemonProcess.start(config)
    try await eventually("its state is written") { try await condition(database) == "following" }
    let alive = try await Program.run(["status", "-c", config]).output
    #expect(
      !alive.contains("stale") && alive.contains(#/following +\d{4}-\d\d-\d\d [\d:]{8} +\d+ m?s +\S+/\d+/#), "\(alive)")
    daemon.send(SIGKILL)
    _ = try await daemon.outcome()
    try await eventually("the server has noticed") {
      try await Program.run(["status", "-c", config]).output.contains("no node runs")
    }
    let killed = try await Program.run(["status", "-c", config]).output
    #expect(killed.contains("following (stale)") && killed.contains("\(daemon.pid) no longer runs"), "\(killed)")
  }

  @Test(
    arguments: [
      (ShardState.following, 3, true, false), (.following, 30, true, true), (.paused, 3, false, true),
      (.ended, 3_000, false, false), (.neverRun, 3_000, false, false),
    ] as [(ShardState, Int, Bool, Bool)])
  func `by status depends on the age of a state and on its node`(
    state: ShardState, age: Int, isLive: Bool, isStale: Bool
  ) {
    var row = ShardTable.Health(name: "Sum:All", state: state, reason: nil, rate: 0, node: "a/1")
    row.age = .seconds(age)
    #expect((Staleness.reason(row, liveNodes: isLive ? ["a/1"] : ["b/2"]) != nil) == isStale)
  }

  @Test func `is written again every ten seconds, so that an old state shows`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    try await withDaemon(settings) { daemon in
      func written() async throws -> String? {
        try await database.value("SELECT (SELECT updated_at::text FROM tidemark.shard)", as: String?.self)
      }
      try await eventually("it follows") { try await condition(database) == "following" }
      let first = try await written()
      try await eventually("it is written again") { try await written() != first }
      #expect(try await condition(database) == "following")
    }
  }
}

@Suite(.gated) struct `A part of the daemon that cannot do its work` {
  @Test func `because a session holds its table says so, with what is not done, and when it works again`() async throws
  {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.connected { session in
        try await session.script("BEGIN; LOCK TABLE tidemark.shard")
        let told =
          try await daemon.observed.first("the reader of requests says so") {
            guard let told = $0.when(.agentHindered), told[.agent] == "the reader of requests" else { return nil }
            return told
          } as Observation
        #expect(told[.meanwhile] == "this node obeys no pause, resume, stop, start or rebuild")
        // The shard itself continues.
        try await database.append(type: "n", count: 1, data: #"{"n": "1"}"#)
        try await daemon.caughtUp()
        try await session.script("ROLLBACK")
      }
      _ = try await daemon.observed.first("it works again") {
        $0.when(.agentWorks)?[.agent] == "the reader of requests" ? true : nil
      }
    }
  }
}
