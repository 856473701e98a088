import Operator
import Books
import Daemon
import Foundation
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
import Testing

@Suite(.gated) struct `A rebuild that is interrupted` {
  @Test func `goes on where it was when it was cancelled, unless it is to begin anew`() async throws {
    let (database, settings) = try await SlowProjection.prepared()
    let running = Task { try await database.rebuild(settings, "Slow") }
    try await eventually("some pages") { try await database.progress() >= 2_000 }
    running.cancel()
    _ = await running.result
    #expect(try await database.legs() == 20_000)
    let at = try await database.progress()
    #expect(at >= 2_000 && at < 20_000)
    let definition = settings.projections[0]
    let rebuilds = RebuildRequests(by: "a test", byNode: false)
    try await database.connected { session in
      var other = RebuildTable.Request()
      other.upTo = 5
      await #expect(throws: Problem.self) {
        try await rebuilds.ask(other, for: definition, restart: false, session)
      }
      let answer = try await rebuilds.ask(.init(), for: definition, restart: false, session)
      #expect(answer == .resumed(at: at))
      #expect(try await rebuilds.ask(.init(), for: definition, restart: true, session) == .begun)
    }
    #expect(try await database.progress() == 0)
    #expect(try await database.leftovers() == 0)
    try await database.pause(nil)
    #expect(try await database.rebuild(settings, "Slow").state == .done)
    #expect(try await database.legs() == 20_000)
  }

  @Test func `begins anew where the definition has changed since`() async throws {
    let (database, settings) = try await SlowProjection.prepared()
    let running = Task { try await database.rebuild(settings, "Slow") }
    try await eventually("some pages") { try await database.progress() >= 1_000 }
    running.cancel()
    _ = await running.result
    try await database.pause(nil)
    let doubled = try database.settings(
      SlowProjection.toml.replacing("SELECT stream_id, count(*)", with: "SELECT stream_id, 2 * count(*)"))
    let row = try await database.rebuild(doubled, "Slow")
    #expect(row.state == .done)
    #expect(try await database.legs() == 40_000)
  }

  @Test func `by kill -9, again and again, leaves the old rows and ends well`() async throws {
    let (database, _) = try await SlowProjection.prepared()
    let config = try Program.settings(database.conninfo, SlowProjection.toml)
    for delay in [150, 300, 500, 800] {
      let process = try await ProgramProcess.start(["rebuild", "Slow", "--here", "-c", config])
      try await Task.sleep(for: .milliseconds(delay))
      process.send(SIGKILL)
      _ = try await process.outcome()
      #expect(try await database.legs() == 20_000)
    }
    let before = try await database.progress()
    try await database.pause(nil)
    let last = try await Program.run(["rebuild", "Slow", "--here", "-c", config])
    #expect(last.code == 0 && last.output.contains("Slow:All: rebuilt up to 20,000"), "\(last)")
    #expect(before == 0 || last.error.contains("continues at"), "\(last.error)")
    #expect(try await database.legs() == 20_000)
    #expect(try await database.leftovers() == 0)
  }

  @Test func `by kill -9 in the middle of its exchange leaves the old table, and the live shard goes on`() async throws
  {
    let (database, settings) = try await SlowProjection.prepared(pause: "0")
    let config = try Program.settings(database.conninfo, SlowProjection.toml)
    // A reader in the way keeps it between the lock of the position and the exchange.
    let reader = try await Session.connect(database.options, threadName: "reader")
    try await reader.script("BEGIN; SELECT count(*) FROM slow")
    for _ in 0..<3 {
      let process = try await ProgramProcess.start(["rebuild", "Slow", "--here", "--by", "swap", "-c", config])
      try await eventually("the lock of the exchange") {
        try await database.value(
          "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'slow'::regclass AND mode = 'AccessExclusiveLock')")
      }
      process.send(SIGKILL)
      _ = try await process.outcome()
    }
    try await database.append(type: "travel", count: 5)
    try await database.follow(settings)
    #expect(try await database.legs() == 20_005)
    try await reader.script("COMMIT")
    await reader.close()
    let last = try await Program.run(["rebuild", "Slow", "--here", "--by", "swap", "-c", config])
    #expect(last.code == 0 && last.output.contains("rebuilt up to 20,005"), "\(last)")
    #expect(try await database.legs() == 20_005)
    #expect(try await database.leftovers() == 0)
  }

  @Test func `by Ctrl-C says how to go on, and a node goes on by itself`() async throws {
    let (database, _) = try await SlowProjection.prepared(pause: "0.3")
    let config = try Program.settings(database.conninfo, SlowProjection.toml)
    let here = try await ProgramProcess.start(["rebuild", "Slow", "--here", "-c", config])
    try await eventually("some pages") { try await database.progress() >= 1_000 }
    here.send(SIGINT)
    let said = try await here.outcome()
    #expect(said.code == 1 && said.error.contains("the same command continues from here"), "\(said)")
    let daemon = try await DaemonProcess.start(config)
    try await database.hasNode()
    let watching = try await ProgramProcess.start(["rebuild", "Slow", "-c", config])
    try await eventually("a node that works on it") {
      try await database.value("SELECT by_node AND state = 'replaying' FROM tidemark.rebuild")
    }
    watching.send(SIGINT)
    let left = try await watching.outcome()
    #expect(left.code == 1 && left.error.contains("the rebuild continues in the node"), "\(left)")
    #expect(try await database.rebuilt("Slow:All").state == .done)
    _ = try await daemon.stop()
    #expect(try await database.legs() == 20_000)
  }

  @Test func `by the end of its node goes on in the next one by itself`() async throws {
    let (database, _) = try await SlowProjection.prepared()
    let config = try Program.settings(database.conninfo, SlowProjection.toml, head: "mode = \"hotcold\"")
    let first = try await DaemonProcess.start(config)
    try await database.hasNode()
    let watching = Task { try await Program.run(["rebuild", "Slow", "-c", config]) }
    try await eventually("some pages") { try await database.progress() >= 2_000 }
    first.send(SIGKILL)
    _ = try await first.outcome()
    let at = try await database.progress()
    try await database.pause(nil)
    let second = try await DaemonProcess.start(config)
    let watched = try await watching.value
    #expect(watched.code == 0 && watched.output.contains("rebuilt up to 20,000"), "\(watched)")
    let ended = try await second.stop()
    #expect(
      ended.error.contains("Rebuild started") && ended.error.contains("resumed=true"), "from \(at): \(ended.error)")
    #expect(try await database.legs() == 20_000)
  }

  @Test func `by a server that restarts goes on when it is back`() async throws {
    let cluster = try await PrivateCluster.start(settings: ["fsync": "off"])
    do {
      let database = try await TestDatabase.make(on: cluster)
      let settings = try await database.install(SlowProjection.toml)
      try await database.append(type: "travel", count: 5_000)
      try await database.follow(settings)
      try await database.pause("0.1")
      let running = Task { try await database.rebuild(settings, "Slow") }
      try await eventually("a page") {
        (try? await database.value("SELECT min(position) FROM tidemark.rebuild_worker", as: Int64?.self)) ?? 0 >= 1_000
      }
      try await cluster.restart(.immediate)
      #expect(try await running.value.state == .done)
      #expect(try await database.value("SELECT sum(legs)::bigint FROM slow", as: Int.self) == 5_000)
    } catch {
      await cluster.remove()
      throw error
    }
    await cluster.remove()
  }

  /// A crash empties what is not logged, and leaves the positions.
  @Test func `by a server that crashes begins anew where its tables are not logged`() async throws {
    let cluster = try await PrivateCluster.start(settings: ["fsync": "off"])
    do {
      let (database, settings) = try await SlowProjection.prepared(on: cluster, events: 5_000)
      try await database.script("ALTER TABLE slow SET UNLOGGED")
      let running = Task { try await database.rebuild(settings, "Slow") }
      try await eventually("some pages") { try await database.progress() >= 2_000 }
      running.cancel()
      _ = await running.result
      try await database.script("CHECKPOINT")
      try await cluster.restart(.immediate)
      #expect(try await database.progress() >= 1_000)
      try await database.pause(nil)
      #expect(try await database.rebuild(settings, "Slow").state == .done)
      #expect(try await database.wrongLegs() == 0)
      #expect(
        try await database.value(
          "SELECT relpersistence::text FROM pg_class WHERE oid = 'slow'::regclass", as: String.self) == "u")
    } catch {
      await cluster.remove()
      throw error
    }
    await cluster.remove()
  }

  @Test func `by an operator is removed, and the old rows stay`() async throws {
    let (database, settings) = try await SlowProjection.prepared(pause: "1")
    let config = try Program.settings(database.conninfo, SlowProjection.toml)
    let daemon = try await DaemonProcess.start(config)
    try await database.hasNode()
    let watching = Task { try await Program.run(["rebuild", "Slow", "-c", config]) }
    try await eventually("some pages") { try await database.progress() >= 1_000 }
    let second = try await Program.run(["rebuild", "Slow", "--to", "5", "-c", config])
    #expect(second.code == 1 && second.error.contains("another rebuild of Slow:All is running (TM325)"), "\(second)")
    let here = try await Program.run(["rebuild", "Slow", "--here", "-c", config])
    #expect(here.code == 1 && here.error.contains("Omit --here"), "\(here)")
    let aborted = try await Program.run(["rebuild", "Slow", "--abort", "-c", config])
    #expect(aborted.code == 0 && aborted.output.contains("its new tables were removed"), "\(aborted)")
    let watched = try await watching.value
    #expect(watched.code == 1 && watched.error.contains("an operator aborted the rebuild"), "\(watched)")
    #expect(try await database.leftovers() == 0)
    let again = try await Program.run(["rebuild", "Slow", "--abort", "-c", config])
    #expect(again.output.contains("there is no rebuild of Slow:All to abort"))
    _ = try await daemon.stop()
    #expect(try await database.legs() == 20_000)
    #expect(try await database.position("Slow:All") == 20_000)
    _ = settings
  }
}
