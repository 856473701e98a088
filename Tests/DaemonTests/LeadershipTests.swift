import Daemon
import EventStore
import Foundation
import Postgres
import Projection
import Sandbox
import Settings
import Synchronization
import Telemetry
import Testing

/// Twelve counters that keep every sequence they applied, so that a loss or a repetition is seen.
private let counters = (1...12).map { n in
  """
  [projections.P\(n)]
  tables = ["p\(n)"]
  setup = "CREATE TABLE p\(n) (seq bigint)"
  sql = "INSERT INTO p\(n) SELECT seq_id FROM batch"

  """
}.joined()

@Suite(.gated) struct `Several nodes` {
  /// Real daemons as processes on one store.
  private struct Fleet {
    let database: TestDatabase
    var nodes: [DaemonProcess] = []

    init() async throws {
      database = try await TestDatabase.make()
      #expect(try await Program.run(["init", "-c", try config()]).code == 0)
    }

    func config() throws -> String {
      try Program.settings(database.conninfo, counters, head: "mode = \"hotcold\"\nstop_timeout = \"10s\"")
    }

    mutating func start() async throws { nodes.append(try await DaemonProcess.start(try config())) }

    /// Shards by node, of nodes that live, as their health says.
    func led() async throws -> [String: [String]] {
      try await database.connected { session in
        try await session.execute(
          """
          SELECT s.name, s.node FROM tidemark.shard AS s JOIN tidemark.node AS n ON n.name = s.node
           WHERE s.condition <> 'ended' AND tidemark.is_alive(n.lock_key)
          """
        ).rows.reduce(into: [:]) {
          $0[try $1.get("node", as: String.self), default: []].append(try $1.get("name", as: String.self))
        }
      }
    }

    func balanced(among count: Int) async throws {
      try await eventually(within: .seconds(60), "12 shards on \(count) nodes") {
        let led = try await led()
        return led.count == count && led.values.reduce(0) { $0 + $1.count } == 12
          && led.values.allSatisfy { $0.count * 2 <= (12 + count - 1) / count * 3 }
      }
    }

    /// Every event once in every read model.
    func isRight() async throws {
      let caught = try await Program.run(["wait", "--timeout", "60s", "-c", try config()])
      #expect(caught.code == 0, "\(caught)")
      for n in 1...12 {
        let wrong = try await database.value(
          """
          SELECT count(*) FROM (SELECT seq_id, count(p.seq) AS times FROM mt_events LEFT JOIN \(identifier: "p\(n)") AS p ON p.seq = seq_id
                                 GROUP BY 1) AS t WHERE times <> 1
          """, as: Int.self)
        #expect(wrong == 0, "P\(n)")
      }
    }

    func stop() async throws {
      for node in nodes where kill(node.pid, 0) == 0 {
        let outcome = try await node.stop()
        #expect(outcome.code == 0, "\(outcome)")
      }
    }
  }

  @Test func `share the shards, and take over from those that stop, are killed, or come back from a freeze`()
    async throws
  {
    var fleet = try await Fleet()
    let database = fleet.database
    let writing = Task { try await database.write(writers: 3, transactions: 600) }
    for _ in 0..<3 { try await fleet.start() }
    try await fleet.balanced(among: 3)

    fleet.nodes[0].send(SIGKILL)
    _ = try await fleet.nodes[0].outcome()
    try await fleet.balanced(among: 2)

    // Frozen, its session and its locks stay: nobody else may lead, and when it wakes it goes on.
    fleet.nodes[1].send(SIGSTOP)
    try await Task.sleep(for: .milliseconds(500))
    fleet.nodes[1].send(SIGCONT)

    #expect(try await fleet.nodes[2].stop().code == 0)
    try await fleet.balanced(among: 1)
    try await fleet.start()
    try await fleet.balanced(among: 2)
    _ = try await writing.value
    try await fleet.isRight()
    let status = try await Program.run(["status", "-c", try fleet.config()])
    #expect(status.output.contains("nodes: ") && status.output.contains("hotcold"), "\(status)")
    try await fleet.stop()
  }

  /// An administrator, or the server, ends the lock session of a node that is frozen: others lead, and it writes nothing when it wakes.
  @Test func `lose nothing when a frozen leader wakes after its locks have gone to another`() async throws {
    var fleet = try await Fleet()
    let database = fleet.database
    for _ in 0..<2 { try await fleet.start() }
    try await fleet.balanced(among: 2)
    try await database.append(type: "x", count: 50)
    fleet.nodes[0].send(SIGSTOP)
    let ended = try await database.value(
      """
      SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks AS l, tidemark.node AS n
       WHERE l.locktype = 'advisory' AND (l.classid::bigint << 32 | l.objid::bigint) = n.lock_key
         AND n.name LIKE \("%/\(fleet.nodes[0].pid)")
      """, as: Int.self)
    #expect(ended == 1)
    try await database.append(type: "x", count: 50)
    try await eventually("the other leads all") { try await fleet.led().values.contains { $0.count == 12 } }
    fleet.nodes[0].send(SIGCONT)
    try await database.append(type: "x", count: 50)
    try await fleet.balanced(among: 2)
    try await fleet.isRight()
    try await fleet.stop()
  }

  @Test func `leave a shard alone whose lock a Marten host holds, and say who it is`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install("")
    let host = try await Session.connect(
      ConnectionOptions(conninfo: database.conninfo + " application_name=marten-host"))
    #expect(
      try await host.execute("SELECT pg_try_advisory_lock(\(LeaderLock.key(schema: "public", shard: "P1:All")))").rows[
        0
      ]
      .get(0, as: Bool.self))
    var hot = try database.settings(counters)
    hot.mode = .hotcold
    try await database.connected { session in
      _ = try await Installer(settings: hot).install(session, streamIDType: "uuid")
    }
    try await withDaemon(hot) { daemon in
      let who = try await daemon.observed.first("it says who leads") { observation -> String? in
        if case .leadershipBlocked(let name, let who) = observation, name.projection == "P1" { who } else { nil }
      }
      #expect(who.contains("marten-host"))
      try await database.append(type: "x", count: 5)
      try await daemon.caughtUp((2...12).map { "P\($0):All" })
      #expect(try await database.position("P1:All") == nil)
      await host.close()
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM p1", as: Int.self) == 5)
    }
  }

  @Test func `do not begin beside a solo node, nor it beside them`() async throws {
    let database = try await TestDatabase.make()
    let config = try Program.settings(database.conninfo, counters)
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    let first = try await DaemonProcess.start(config)
    try await eventually("it is known") {
      try await database.value("SELECT count(*) FROM tidemark.node WHERE tidemark.is_alive(lock_key)", as: Int.self)
        == 1
    }
    let second = try await Program.run(["run", "-c", try Program.settings(database.conninfo, counters)])
    #expect(
      second.code == 1 && second.error.contains("another node follows this store") && second.error.contains("TM211"),
      "\(second)")
    #expect(try await first.stop().code == 0)
    #expect(try await database.value("SELECT count(*) FROM tidemark.node", as: Int.self) == 0)
  }

  @Test func `are known by their locks alone, and refuse a pooled connection for them`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install("")
    let membership = Membership()
    try await database.connected { session in
      try await membership.join("one", version: "1", mode: "hotcold", session)
      try await database.connected { other in
        try await membership.join("two", version: "1", mode: "hotcold", other)
        #expect(try await membership.live(session).map(\.name) == ["one", "two"])
      }
      try await eventually("two is gone with its session") { try await membership.live(session).map(\.name) == ["one"] }
    }
  }
}
