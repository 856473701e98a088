import Foundation
import Glibc
import Postgres
import Processes
import Sandbox
import TestSupport
import Testing

/// Where nothing is under way a stop has nothing to wait for, whatever the daemon was waiting for itself.
@Suite(.gated) struct `A SIGTERM in a wait ends the process at once:` {
  private static let limit = Duration.milliseconds(100)

  /// From the signal to the end of the process. The rest of the suite keeps the machine busy, so the quickest of some tries counts.
  private static func expectQuickEnd(
    sourceLocation: Testing.SourceLocation = #_sourceLocation, _ waiting: () async throws -> DaemonProcess
  ) async throws {
    var times: [Duration] = []
    repeat {
      let daemon = try await waiting()
      let began = ContinuousClock.now
      let outcome = try await daemon.stop()
      times.append(ContinuousClock.now - began)
      #expect(
        outcome.code == 0 && !outcome.error.contains("stop_timeout"), "\(outcome)", sourceLocation: sourceLocation)
    } while times.last! >= limit && times.count < 8
    #expect(times.min()! < limit, "\(times)", sourceLocation: sourceLocation)
  }

  /// Threads of sessions are named after what they are for.
  private static func hasThread(_ name: String, _ daemon: DaemonProcess) -> Bool {
    let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(daemon.pid)/task")) ?? []
    return tasks.contains {
      (try? String(contentsOfFile: "/proc/\(daemon.pid)/task/\($0)/comm", encoding: .utf8)) == "\(name)\n"
    }
  }

  /// Of two databases one may be away, or refused, and the daemon is ready as soon as it knows.
  private static func several(_ one: String, _ other: String) throws -> String {
    try Program.file(
      """
      [databases.one]
      url = "\(one)"
      [databases.other]
      url = "\(other)"
      [event_store]
      append = "quick"
      \(SampleProjections.toml)
      """)
  }

  private static func readyDaemon(_ config: String) async throws -> DaemonProcess {
    let socket = try NotifySocket()
    let daemon = try await DaemonProcess.start(config, environment: ["NOTIFY_SOCKET": socket.path])
    try await eventually("it is ready") { socket.messages.contains("READY=1") }
    return daemon
  }

  private static func makeStore(_ database: TestDatabase) async throws {
    #expect(try await Program.run(["init", "-c", try Program.settings(database.conninfo)]).code == 0)
  }

  @Test func `connecting to a server that does not answer`() async throws {
    let proxy = try Proxy(to: 1)
    defer { proxy.end() }
    proxy.cut()
    let config = try Program.settings("host=127.0.0.1 port=\(proxy.port) user=x dbname=x")
    try await Self.expectQuickEnd {
      let daemon = try await DaemonProcess.start(config)
      try await eventually("it connects") { Self.hasThread("startup", daemon) }
      return daemon
    }
  }

  @Test func `backing off from a server that is away`() async throws {
    let here = try await TestDatabase.make()
    try await Self.makeStore(here)
    let config = try Self.several(here.conninfo, "host=/nowhere user=x dbname=x")
    try await Self.expectQuickEnd { try await Self.readyDaemon(config) }
  }

  @Test func `at a standby, until it is promoted`() async throws {
    let cluster = try await PrivateCluster.start()
    let (standby, here) = (try await TestDatabase.make(on: cluster), try await TestDatabase.make())
    try await Self.makeStore(here)
    await cluster.stop(.fast)
    try Data().write(to: URL(filePath: "\(cluster.directory)/data/standby.signal"))
    try await cluster.startServer()
    let config = try Self.several(here.conninfo, standby.conninfo)
    try await Self.expectQuickEnd { try await Self.readyDaemon(config) }
    await cluster.remove()
  }

  @Test func `for a node that holds the store's lock`() async throws {
    let database = try await TestDatabase.make()
    try await Self.makeStore(database)
    let first = try await DaemonProcess.start(try Program.settings(database.conninfo))
    try await eventually("the first is known") {
      try await database.value("SELECT count(*) FROM tidemark.node", as: Int.self) == 1
    }
    try await Self.expectQuickEnd {
      let second = try await DaemonProcess.start(try Program.settings(database.conninfo))
      try await eventually("the second wants in") { Self.hasThread("locks", second) }
      return second
    }
    #expect(try await first.stop().code == 0)
  }

  @Test(arguments: ["tidemark.shard", "tidemark.gap", "mt_events"])
  func `for a lock on a table that an agent looks at`(table: String) async throws {
    let database = try await TestDatabase.make()
    try await Self.makeStore(database)
    let config = try Program.settings(database.conninfo)
    let locker = try await Session.connect(database.options, threadName: "locker")
    try await Self.expectQuickEnd {
      await locker.rollBack()
      let daemon = try await Self.readyDaemon(config)
      try await locker.script("BEGIN; LOCK TABLE \(table) IN ACCESS EXCLUSIVE MODE")
      try await eventually("an agent waits for the lock") {
        try await database.value(
          "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = \(table)::regclass AND NOT granted)", as: Bool.self)
      }
      return daemon
    }
  }

  @Test func `for a transaction that holds a shard's position`() async throws {
    let database = try await TestDatabase.make()
    let config = try Program.settings(database.conninfo, "[projections.One]\nsql = \"SELECT 1 FROM batch\"")
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    try await database.script("INSERT INTO mt_event_progression (name, last_seq_id) VALUES ('One:All', 0)")
    let holder = try await Session.connect(database.options, threadName: "holder")
    try await holder.script("BEGIN; SELECT FROM mt_event_progression WHERE name = 'One:All' FOR UPDATE")
    try await Self.expectQuickEnd {
      let daemon = try await DaemonProcess.start(config)
      try await eventually("the shard waits") {
        try await database.value(
          "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity USING (pid) WHERE NOT l.granted AND datname = current_database()",
          as: Int.self) > 0
      }
      return daemon
    }
    await holder.close()
  }

  @Test(arguments: ["sleep", "sh", "library"])
  func `for the first word of a plugin that does not answer`(kind: String) async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin =
      switch kind {
      case "sleep": "exec = [\"/bin/sleep\", \"1000\"]"
      case "sh": "exec = [\"/bin/sh\", \"-c\", \"while :; do sleep 1; done\"]"
      default: "library = \"\(try await library(in: programs))\"\nconfig = \"never-open\""
      }
    let config = try Program.settings(database.conninfo, "[projections.Deaf]\n\(plugin)")
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    try await Self.expectQuickEnd {
      let daemon = try await Self.readyDaemon(config)
      try await eventually("the plugin runs") {
        kind == "library" ? Self.hasThread("plugin", daemon) : !daemon.children.isEmpty
      }
      return daemon
    }
  }

  @Test(arguments: [SIGTERM, SIGINT]) func `for a lock, of a rebuild that is asked for`(signal: Int32) async throws {
    let database = try await TestDatabase.make()
    let config = try Program.settings(database.conninfo)
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    let holder = try await Session.connect(database.options, threadName: "holder")
    try await holder.script("BEGIN; LOCK TABLE tidemark.rebuild IN ACCESS EXCLUSIVE MODE")
    var times: [Duration] = []
    repeat {
      let command = try await ProgramProcess.start(["rebuild", "Trip", "--here", "-c", config])
      try await eventually("it waits") {
        try await database.value(
          "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity USING (pid) WHERE NOT l.granted AND datname = current_database()",
          as: Int.self) > 0
      }
      let began = ContinuousClock.now
      command.send(signal)
      let outcome = try await command.outcome()
      times.append(ContinuousClock.now - began)
      #expect(outcome.code == 1 && outcome.error.contains("interrupted"), "\(outcome)")
    } while times.last! >= Self.limit && times.count < 8
    #expect(times.min()! < Self.limit, "\(times)")
    await holder.close()
  }

  /// The operator may think for as long as they like.
  @Test(arguments: [SIGTERM, SIGINT, 0]) func `for the answer to a question`(signal: Int32) async throws {
    let database = try await TestDatabase.make()
    let config = try Program.settings(database.conninfo)
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    var times: [Duration] = []
    repeat {
      let terminal = try await TerminalSession([Program.path, "rebuild", "Trip", "--in-place", "-c", config])
      try await terminal.says("Type yes to continue: ")
      let began = ContinuousClock.now
      // Ctrl-C, or a signal to the process alone.
      if signal == 0 { terminal.type("\u{3}") } else { terminal.send(signal) }
      #expect(try await terminal.end() == .signaled(signal == 0 ? SIGINT : signal))
      times.append(ContinuousClock.now - began)
    } while times.last! >= Self.limit && times.count < 8
    #expect(times.min()! < Self.limit, "\(times)")
  }
}
