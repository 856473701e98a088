import Books
@testable import Daemon
import Foundation
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
import Testing

/// Each scenario with real daemons as processes on one server, writers beside them, and a recount at the end.
@Suite(.gated) struct `Several nodes` {
  /// The backend of a node's session that holds its locks.
  private static func end(_ node: DaemonProcess, in database: TestDatabase) async throws -> Int {
    try await database.value(
      """
      SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks AS l, tidemark.node AS n
       WHERE l.locktype = 'advisory' AND (l.classid::bigint << 32 | l.objid::bigint) = n.lock_key
         AND n.name LIKE \("%/\(node.pid)")
      """)
  }

  @Test func `share the shards as nodes come, are told to stop, and are killed`() async throws {
    try await Fleet.with { fleet in
      try await fleet.writing(3) {
        try await fleet.start(3)
        try await fleet.balanced(among: 3)
        let killed = await fleet.nodes[0]
        try await fleet.kill(killed)
        try await fleet.balanced(among: 2)
        try await fleet.stop(await fleet.nodes[0])
        try await fleet.balanced(among: 1)
        try await fleet.start(1)
        try await fleet.balanced(among: 2)
      }
      try await fleet.isRight()
      let status = try await Program.run(["status", "-c", try fleet.config()])
      #expect(status.output.contains("nodes: ") && status.output.contains("hotcold"), "\(status)")
      #expect(try await Program.run(["wait", "--timeout", "10s", "-c", try fleet.config()]).code == 0)
    }
  }

  @Test func `that start at the same moment run each shard once`() async throws {
    try await Fleet.with { fleet in
      try await fleet.writing {
        let config = try (1...4).map { _ in try fleet.config() }
        try await withThrowingTaskGroup(of: Void.self) { group in
          for config in config { group.addTask { try await fleet.start(config) } }
          try await group.waitForAll()
        }
        try await fleet.balanced(among: 4)
      }
      try await fleet.isRight()
    }
  }

  @Test func `keep forty shards on four nodes within one and a half times a share`() async throws {
    try await Fleet.with(counters: 40) { fleet in
      try await fleet.writing {
        try await fleet.start(4)
        try await fleet.balanced(among: 4)
      }
      try await fleet.isRight()
    }
  }

  /// The server ends the lock session of a node that says nothing any more, and the others go on; when it wakes it writes nothing.
  @Test func `go on without one that is frozen for ten seconds, which joins again when it wakes`() async throws {
    try await Fleet.with { fleet in
      try await fleet.writing {
        try await fleet.start(2)
        try await fleet.balanced(among: 2)
        let (frozen, other) = (await fleet.nodes[0], await fleet.nodes[1])
        frozen.send(SIGSTOP)
        let began = ContinuousClock.now
        try await fleet.ledAlone(by: other, within: .seconds(9))
        #expect(ContinuousClock.now - began > .seconds(1), "it was given some time")
        let mark = try await fleet.database.value("SELECT max(seq_id) FROM mt_events", as: Int64.self)
        try await eventually("the other applies what the frozen one led") {
          try await fleet.database.value(
            "SELECT count(*) FROM mt_event_progression WHERE name LIKE 'P%' AND last_seq_id >= \(mark)", as: Int.self)
            == 12
        }
        try await eventually(within: .seconds(15), "ten seconds are over") {
          ContinuousClock.now - began > .seconds(10)
        }
        frozen.send(SIGCONT)
        try await fleet.balanced(among: 2)
        #expect(Glibc.kill(frozen.pid, 0) == 0)
      }
      try await fleet.isRight()
      let woken = await fleet.nodes[0]
      let said = try await woken.stop().error
      #expect(said.contains("Lost the session that holds the locks"), "\(said.suffix(2000))")
    }
  }

  /// In the middle of a page it holds the row of the position, and the next node must not wait for it to wake.
  @Test func `do not wait for the page of one that is frozen in the middle of it`() async throws {
    try await Fleet.with(counters: 1) { fleet in
      try await fleet.start(2)
      try await fleet.balanced(among: 2)
      var leader: pid_t?
      try await eventually("one leads the one shard") {
        leader = try await fleet.led().first { !$0.value.isEmpty }?.key
        return leader != nil
      }
      let frozen = try #require(await fleet.nodes.first { $0.pid == leader })
      let other = try #require(await fleet.nodes.first { $0.pid != leader })
      try await fleet.database.append(type: "x", count: 5)
      try await eventually("they are applied") { try await fleet.database.position("P1:All") == 5 }
      // The page waits for this lock with the row of its position in its hands; when it has it, the daemon sleeps and says no more.
      let blocker = try await Session.connect(fleet.database.options)
      _ = try await blocker.script("BEGIN; LOCK TABLE tidemark.gap IN ACCESS EXCLUSIVE MODE")
      try await fleet.database.append(type: "x", count: 5)
      try await eventually("the page is under way") {
        try await fleet.database.value(
          "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%begin_page%' AND wait_event_type = 'Lock' AND datname = current_database())"
        )
      }
      frozen.send(SIGSTOP)
      _ = try await blocker.script("COMMIT")
      try await fleet.ledAlone(by: other, within: .seconds(9))
      try await eventually(within: .seconds(10), "the other goes on") {
        try await fleet.database.position("P1:All") == 10
      }
      frozen.send(SIGCONT)
      try await eventually("the woken one is in again") { try await fleet.led().count == 2 }
      await blocker.close()
      try await fleet.isRight()
    }
  }

  /// An administrator ends the lock session of a node that is frozen: others lead, and it writes nothing when it wakes.
  @Test func `lose nothing when a frozen leader wakes after its locks have gone to another`() async throws {
    try await Fleet.with { fleet in
      try await fleet.writing {
        try await fleet.start(2)
        try await fleet.balanced(among: 2)
        let frozen = await fleet.nodes[0]
        frozen.send(SIGSTOP)
        #expect(try await Self.end(frozen, in: fleet.database) == 1)
        try await fleet.ledAlone(by: await fleet.nodes[1])
        frozen.send(SIGCONT)
        try await fleet.balanced(among: 2)
      }
      try await fleet.isRight()
    }
  }

  @Test(arguments: [true, false])
  func `hand over when an administrator ends the session of their locks, watched or not`(isWatched: Bool) async throws {
    try await Fleet.with(head: "monitor_locks = \(isWatched)") { fleet in
      try await fleet.writing {
        try await fleet.start(2)
        try await fleet.balanced(among: 2)
        for round in 0..<4 {
          let node = await fleet.nodes[round % 2]
          #expect(try await Self.end(node, in: fleet.database) == 1)
          try await fleet.balanced(among: 2)
        }
      }
      try await fleet.isRight()
      let said = try await fleet.nodes[0].stop().error
      #expect(
        said.contains("Lost the session that holds the locks")
          && (!isWatched || said.contains("terminating connection due to administrator command")),
        "\(said.suffix(2000))")
    }
  }

  /// One node has been given new settings and the other has not yet.
  @Test func `run a shard that only one of them knows there`() async throws {
    try await Fleet.with(counters: 6) { fleet in
      try await fleet.writing {
        try await fleet.start(try fleet.config(projections: Fleet.counters(1...3)))
        let wide = try await fleet.start()
        try await eventually("all six are led, the new ones by who knows them") {
          let led = try await fleet.led()
          return led.values.reduce(0) { $0 + $1.count } == 6
            && led[wide.pid]!.isSuperset(of: ["P4:All", "P5:All", "P6:All"])
        }
      }
      try await fleet.isRight()
    }
  }

  /// A slow page of one shard must not keep a node from taking over others.
  @Test func `take over at once although a shard that moves away is still in its page`() async throws {
    try await Fleet.with(counters: 6) { fleet in
      // Every page of P1 takes three seconds.
      try await fleet.database.script(
        """
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); RETURN NULL; END';
        CREATE TRIGGER slow AFTER INSERT ON p1 FOR EACH STATEMENT EXECUTE FUNCTION slow()
        """)
      try await fleet.writing {
        try await fleet.start(3)
        try await fleet.balanced(among: 3)
        var leader: pid_t?
        try await eventually("P1 is led") {
          leader = try await fleet.led().first { $0.value.contains("P1:All") }?.key
          return leader != nil
        }
        // Its shards should go elsewhere; P1 is in a page.
        let leaving = try #require(await fleet.nodes.first { $0.pid == leader })
        leaving.send(SIGTERM)
        let killed = try #require(await fleet.nodes.first { $0.pid != leader })
        try await fleet.kill(killed)
        let rest = try #require(await fleet.nodes.first { $0.pid != leader })
        try await eventually(within: .milliseconds(2500), "all others are led by the one that is left") {
          try await fleet.led()[rest.pid].map { $0.count >= 5 } ?? false
        }
        #expect(try await leaving.outcome().code == 0)
        try await fleet.ledAlone(by: rest)
      }
      try await fleet.database.script("DROP TRIGGER slow ON p1")
      try await fleet.isRight()
    }
  }

  /// A page that would take half a minute must not keep the shard that long from going on elsewhere.
  @Test func `cancel the page under way when the session of their locks is ended`() async throws {
    try await Fleet.with(counters: 1) { fleet in
      let database = fleet.database
      try await database.script(
        """
        CREATE TABLE delay (seconds int);
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN PERFORM pg_sleep((SELECT coalesce(sum(seconds), 0) FROM delay)); RETURN NULL; END';
        CREATE TRIGGER slow AFTER INSERT ON p1 FOR EACH STATEMENT EXECUTE FUNCTION slow()
        """)
      try await fleet.start(2)
      try await fleet.balanced(among: 2)
      try await database.append(type: "x", count: 5)
      try await eventually("they are applied") { try await database.position("P1:All") == 5 }
      let leader = try #require(try await fleet.led().first { !$0.value.isEmpty }?.key)
      let node = try #require(await fleet.nodes.first { $0.pid == leader })
      try await database.script("INSERT INTO delay VALUES (30)")
      try await database.append(type: "x", count: 5)
      try await eventually("its page is under way") {
        try await database.value(
          "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())")
      }
      try await database.script("DELETE FROM delay")
      #expect(try await Self.end(node, in: database) == 1)
      try await eventually(within: .seconds(5), "the shard goes on") { try await database.position("P1:All") == 10 }
      try await fleet.isRight()
    }
  }

  @Test func `follow new settings one after the other`() async throws {
    try await Fleet.with(counters: 6) { fleet in
      try await fleet.writing {
        let configs = try (1...2).map { _ in try fleet.config(projections: Fleet.counters(1...3)) }
        for config in configs { try await fleet.start(config) }
        try await eventually("three are led") { try await fleet.led().values.reduce(0) { $0 + $1.count } == 3 }
        let wide = try String(contentsOfFile: try fleet.config(), encoding: .utf8)
        for (config, node) in zip(configs, await fleet.nodes) {
          try wide.write(toFile: config, atomically: true, encoding: .utf8)
          node.send(SIGHUP)
          try await eventually("all six are led") { try await fleet.led().values.reduce(0) { $0 + $1.count } == 6 }
        }
        try await fleet.balanced(among: 2)
      }
      try await fleet.isRight()
    }
  }

  /// The way of `url` is closed to one node, and its locks go another way.
  @Test func `go on without one that holds its locks but can do nothing`() async throws {
    let cluster = try await PrivateCluster.start(settings: ["fsync": "off"], listensOnTCP: true)
    let proxy = try Proxy(to: cluster.port)
    try await Fleet.with(counters: 4, on: cluster) { fleet in
      let direct = fleet.database.conninfo
      try await fleet.writing {
        let blind = try await fleet.start(
          try fleet.config(
            conninfo: direct.replacing("port=\(cluster.port)", with: "port=\(proxy.port)"),
            database: "lock_url = \"\(direct)\""))
        let other = try await fleet.start()
        try await fleet.balanced(among: 2)
        proxy.end()
        try await fleet.ledAlone(by: other, within: .seconds(25))
        #expect(try await fleet.led().keys.contains(blind.pid), "it is still there")
      }
      try await fleet.isRight()
      let said = try await fleet.nodes[0].stop().error
      #expect(said.contains("this node handed its shards to the others"), "\(said.suffix(2000))")
    }
    await cluster.remove()
  }

  @Test func `are ready and say so, also one that leads nothing`() async throws {
    try await Fleet.with(counters: 1) { fleet in
      let sockets = try (1...2).map { _ in try NotifySocket() }
      for socket in sockets { try await fleet.start(environment: ["NOTIFY_SOCKET": socket.path]) }
      try await fleet.balanced(among: 2)
      try await eventually("both are ready") { sockets.allSatisfy { $0.messages.contains("READY=1") } }
      try await fleet.database.append(type: "x", count: 5)
      try await eventually("one leads the shard, the other none") {
        let lines = sockets.map { $0.messages.last { $0.hasPrefix("STATUS=") } ?? "" }
        return lines.contains { $0.hasPrefix("STATUS=leading 1 of 1 shards · mark 5") }
          && lines.contains { $0.hasPrefix("STATUS=leading 0 of 1 shards · mark 5") }
      }
      let led = try await fleet.led()
      let leader = try #require(await fleet.nodes.first { led[$0.pid] == ["P1:All"] })
      let other = try #require(await fleet.nodes.first { $0.pid != leader.pid })
      try await fleet.kill(leader)
      try await fleet.ledAlone(by: other)
      try await eventually("it says what it leads now") {
        sockets.contains { $0.messages.last { $0.hasPrefix("STATUS=") }?.hasPrefix("STATUS=leading 1 of 1") ?? false }
      }
      try await fleet.isRight()
      let said = try await other.stop().error
      #expect(
        said.contains("Leadership of the shard acquired") && said.contains("/\(leader.pid) left"),
        "with its cause: \(said)")
    }
  }

  @Test func `leave a shard alone whose lock a Marten host holds, and say who it is`() async throws {
    try await Fleet.with(counters: 3) { fleet in
      let database = fleet.database
      let host = try await Session.connect(
        ConnectionOptions(conninfo: database.conninfo + " application_name=marten-host", pins: .never))
      let key = LeaderLock.key(schema: "public", shard: "P1:All")
      // As versions from 8.32 on take it.
      _ = try await host.script("BEGIN; SELECT pg_advisory_xact_lock(\(key))")
      let log = try Program.file("")
      try await fleet.writing {
        for _ in 1...2 { try await fleet.start(prefix: ["sh", "-c", "exec \"$@\" 2>> \(log)", "sh"]) }
        try await eventually("the others are led") { try await fleet.led().values.reduce(0) { $0 + $1.count } == 2 }
        try await eventually("who is in the way is said") {
          let said = try String(contentsOfFile: log, encoding: .utf8)
          return said.contains("Another session holds the shard's lock")
            && said.contains("pid \(host.processID) (marten-host, local, postgres, idle in transaction since ")
        }
        #expect(try await database.position("P1:All") == nil)
        await host.close()
        try await fleet.balanced(among: 2)
      }
      try await fleet.isRight()
    }
  }
}

@Suite(.gated) struct `A solo node` {
  @Test func `does not begin beside another one, nor beside nodes that share`() async throws {
    let database = try await TestDatabase.make()
    let config = try Program.settings(database.conninfo, Fleet.counters())
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    let first = try await DaemonProcess.start(config)
    try await eventually("it is known") {
      try await database.value(
        "SELECT count(*) FROM tidemark.node WHERE tidemark_internal.is_alive(lock_key)", as: Int.self)
        == 1
    }
    for head in ["", "mode = \"hotcold\""] {
      let second = try await Program.run([
        "run", "-c", try Program.settings(database.conninfo, Fleet.counters(), head: head),
      ])
      #expect(
        second.code == 1 && second.error.contains("another node follows this store") && second.error.contains("TM211")
          && !second.error.contains("Ready"), "\(second)")
    }
    #expect(try await first.stop().code == 0)
    #expect(try await database.value("SELECT count(*) FROM tidemark.node", as: Int.self) == 0)
  }

  @Test func `excludes another one that starts at the same moment`() async throws {
    let database = try await TestDatabase.make()
    let configs = try (1...2).map { _ in try Program.settings(database.conninfo, Fleet.counters(1...1)) }
    #expect(try await Program.run(["init", "-c", configs[0]]).code == 0)
    async let one = DaemonProcess.start(configs[0])
    async let two = DaemonProcess.start(configs[1])
    let both = try await [one, two]
    try await eventually(within: .seconds(15), "one of them gives way") {
      try both.contains { try !Self.runs($0.pid) }
    }
    let left = try both.filter { try Self.runs($0.pid) }
    #expect(left.count == 1)
    for node in both { node.send(SIGTERM) }
    var codes: [Int] = []
    for node in both { codes.append(try await node.outcome().code) }
    #expect(codes.sorted() == [0, 1])
  }

  private static func runs(_ pid: pid_t) throws -> Bool { kill(pid, 0) == 0 }

  /// Its session was lost for a while, and another node came in.
  @Test func `says so when another node has come in while its session was lost`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Fleet.counters(1...1))
    let recorder = ObservationRecorder()
    let locks = LockSessions(
      options: database.options, node: "one", version: "1", mode: "solo", exclusivity: .none)
    try await database.connected { other in
      #expect(try await Membership().enter(.none, other))
      #expect(try await Membership().join("two", version: "1", mode: "solo", other))
      let guardian = SoloGuard(
        locks: locks, first: nil, shards: { settings.projections.map { "\($0.shard)" } },
        troubles: TroubleBoard(recorder), observer: recorder)
      let running = Task { try await guardian.run() }
      let failure = try await recorder.first("it says who") { $0.when(.otherNode)?.failure }
      #expect(failure.code == .store(.otherNode) && failure.message.contains("two (solo)"))
      running.cancel()
      _ = await running.result
    }
  }
}
