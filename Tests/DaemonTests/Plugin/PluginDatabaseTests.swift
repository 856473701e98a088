import Operator
import Daemon
import EventStore
import Foundation
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

@Suite(.gated) struct `A plugin with effects in the database` {
  private static let table = """
    tables = ["sum"]
    setup = "CREATE TABLE sum (seq bigint PRIMARY KEY, n int NOT NULL CHECK (n >= 0), note text)"
    effects = "database"
    """
  /// One statement for each event.
  private static let inserting = """
    def insert(event):
        return {"text": "INSERT INTO sum (seq, n, note) VALUES ($1, $2, $3)", "values": [event["seq_id"], str(event["data"].get("n", 1)), None]}
    def answer(page, events):
        note("pages", page["count"])
        return applied(page, sql=[insert(event) for event in events])
    """

  @Test func `has its statements applied with the position, exactly once, though it is killed again and again`()
    async throws
  {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      Self.inserting + "\n" + """
        inner = answer
        def answer(page, events):
            note("pid", os.getpid())
            if events and events[-1]["seq_id"] % 7 == 0 and not os.path.exists(directory + "/killed%d" % events[-1]["seq_id"]):
                open(directory + "/killed%d" % events[-1]["seq_id"], "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            return inner(page, events)
        """)
    let settings = try await database.installPlugin([plugin], keys: Self.table)
    try await withDaemon(settings) { daemon in
      for _ in 1...30 { try await database.append(type: "x", count: 3) }
      try await daemon.caughtUp(within: .seconds(60))
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 90)
      #expect(try await database.value("SELECT sum(seq)::bigint FROM sum", as: Int.self) == 90 * 91 / 2)
      #expect(try await database.value("SELECT count(*) FROM sum WHERE note IS NULL", as: Int.self) == 90)
    }
  }

  @Test func `has them applied exactly once, though its node is killed in the middle of a page`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    // Of the first two nodes each comes to a page that it is not done with.
    let plugin = try programs.python(
      Self.inserting + "\n" + """
        inner = answer
        def answer(page, events):
            for at in (20, 40):
                if page["ceiling"] >= at and not os.path.exists(directory + "/go%d" % at):
                    note("held%d" % at, os.getppid())
                    while not os.path.exists(directory + "/go%d" % at): time.sleep(0.01)
            return inner(page, events)
        """)
    let projection =
      "[projections.Plug]\nexec = [\"\(plugin)\"]\n" + Self.table.replacing("bigint PRIMARY KEY", with: "bigint")
    _ = try await database.install(projection)
    var nodes: [DaemonProcess] = []
    for _ in 1...3 {
      // Of its own, by which its process is found.
      let config = try Program.settings(database.conninfo, projection, head: "mode = \"hotcold\"")
      nodes.append(try await DaemonProcess.start(config))
    }
    for at in [20, 40] {
      for _ in 1...4 { try await database.append(type: "x", count: 5) }
      try await eventually("a node is at work") { !programs.lines("held\(at)").isEmpty }
      let leader = try #require(pid_t(programs.lines("held\(at)")[0]))
      #expect(try await database.value("SELECT count(*) FROM sum WHERE seq >= \(at)", as: Int.self) == 0)
      let index = try #require(nodes.firstIndex { $0.pid == leader })
      let node = nodes.remove(at: index)
      node.send(SIGKILL)
      _ = try await node.outcome()
      // What the child of the dead node answers now nobody hears.
      _ = try programs.program("", name: "go\(at)")
    }
    try await database.append(type: "x", count: 5)
    let config = try Program.settings(database.conninfo, projection)
    let caught = try await Program.run(["wait", "--timeout", "60s", "-c", config])
    #expect(caught.code == 0, "\(caught)")
    #expect(
      try await database.value("SELECT array_agg(seq ORDER BY seq)::text FROM sum", as: String.self)
        == "{" + (1...45).map(String.init).joined(separator: ",") + "}")
    #expect(programs.lines("hello").count >= 3)
    for node in nodes { #expect(try await node.stop().code == 0) }
  }

  @Test func `has an event whose statement fails found by handing over fewer, and all others applied`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installPlugin([try programs.python(Self.inserting)], keys: Self.table)
    let bad: Set<Int> = [3, 64, 65]
    try await database.append(data: (1...100).map { #"{"n": \#(bad.contains($0) ? -1 : $0)}"# })
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 97)
      let letters = try await database.value(
        "SELECT string_agg(concat_ws(' ', seq_id, class, sqlstate), ', ' ORDER BY seq_id) FROM tidemark.dead_letter",
        as: String.self)
      #expect(letters == "3 event 23514, 64 event 23514, 65 event 23514")
    }
    #expect(programs.lines("pages").count < 60)
    #expect(try await database.position("Plug:All") == 100)
  }

  /// PostgreSQL has no place for NUL, and a statement must not end where one stands.
  @Test func `has an event with NUL in its statement, value or reason kept as a letter`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      Self.inserting + "\n" + """
        def answer(page, events):
            sql = []
            for event in events:
                kind = event["data"].get("kind")
                if kind == "reason": return failed(event, message="bad\\0end", sql=sql)
                sql.append(insert(event))
                if kind == "value": sql[-1]["values"][2] = "a\\0b"
                if kind == "text": sql[-1]["text"] = "DELETE FROM sum WHERE $1::text || $2::text || $3::text IS NULL \\0 AND false"
            return applied(page, sql=sql)
        """)
    let settings = try await database.installPlugin([plugin], keys: Self.table)
    try await database.append(
      data: ["{}", #"{"kind": "value"}"#, "{}", #"{"kind": "text"}"#, "{}", #"{"kind": "reason"}"#, "{}"])
    try await withDaemon(settings) { daemon in try await daemon.caughtUp(within: .seconds(60)) }
    #expect(
      try await database.value("SELECT array_agg(seq ORDER BY seq)::text FROM sum", as: String.self) == "{1,3,5,7}")
    let letters = try await database.value(
      "SELECT string_agg(concat_ws(' ', seq_id, class, sqlstate), ', ' ORDER BY seq_id) FROM tidemark.dead_letter",
      as: String.self)
    #expect(letters == "2 event 22021, 4 event 22021, 6 event")
    let reason = try await database.value("SELECT message FROM tidemark.dead_letter WHERE seq_id = 6", as: String.self)
    #expect(reason.contains("bad\u{2400}end"), "\(reason)")
  }

  /// The server ends a transaction in which nothing is said for five seconds.
  @Test func `may take longer to replay a letter than a transaction may be quiet`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      Self.inserting + "\n" + """
        def answer(page, events):
            if not os.path.exists(directory + "/mended"): return failed(events[0], message="bad", sql=[])
            time.sleep(6)
            return applied(page, sql=[insert(event) for event in events])
        """)
    let settings = try await database.installPlugin([plugin], keys: Self.table)
    try await database.append(data: ["{}"])
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    _ = try programs.program("", name: "mended")
    let outcome = try await database.connected { session in
      try await ShardSessions.prepare(session)
      return try await Replay(shape: try await StoreShape.read(session, schema: "public"), node: "test")
        .replay(1, settings.projections[0], session)
    }
    #expect(outcome == .applied)
    #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 1)
  }

  @Test func `may say with a failure what came before it, or is handed that again`() async throws {
    for saysIt in [true, false] {
      let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
      let plugin = try programs.python(
        Self.inserting + "\n" + """
          def answer(page, events):
              sql = []
              for event in events:
                  if "bad" in event["data"]:
                      return failed(event, message="bad", \(saysIt ? "sql=sql" : ""))
                  sql.append(insert(event))
              return applied(page, sql=sql)
          """)
      let settings = try await database.installPlugin([plugin], keys: Self.table)
      try await database.append(data: (1...20).map { [5, 6, 20].contains($0) ? #"{"bad": 1}"# : #"{"n": 1}"# })
      try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
      #expect(try await database.value("SELECT count(*) FROM sum", as: Int.self) == 17, "\(saysIt)")
      #expect(
        try await database.value(
          "SELECT array_agg(seq_id ORDER BY seq_id)::text FROM tidemark.dead_letter", as: String.self)
          == "{5,6,20}")
    }
  }

  @Test(arguments: [
    (#"{"text": "COMMIT"}"#, "COMMIT is not allowed here"),
    (#"{"text": "INSERT INTO nowhere VALUES (1)"}"#, "relation \"nowhere\" does not exist"),
    (#"{"text": "SELECT 1; SELECT 2"}"#, "cannot insert multiple commands into a prepared statement"),
  ])
  func `that answers with what can work for no event stops, and its position stays`(sql: String, message: String)
    async throws
  {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python("def answer(page, events): return applied(page, sql=[\(sql)])")
    let settings = try await database.installPlugin([plugin], keys: Self.table)
    try await database.append(type: "x", count: 1)
    try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.first("it stops") { $0.when(.shardStopped)?.failure }
      #expect(failure.message.contains(message), "\(failure.message)")
    }
    #expect(try await database.position("Plug:All") == 0)
  }

  @Test func `parks the later events of a stream behind a dead letter, and has them replayed in order`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      Self.inserting + "\n" + """
        def answer(page, events):
            sql = []
            for event in events:
                if "bad" in event["data"] and not os.path.exists(directory + "/mended"):
                    return failed(event, message="bad", sql=sql)
                sql.append(insert(event))
            return applied(page, sql=sql)
        """)
    let settings = try await database.installPlugin([plugin], keys: Self.table + "\non_poison = \"park-stream\"")
    try await database.append(data: ["{}", #"{"bad": 1}"#, "{}", "{}"])
    try await database.append(data: ["{}", "{}"])
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(
        try await database.value("SELECT array_agg(seq ORDER BY seq)::text FROM sum", as: String.self) == "{1,5,6}")
      let letters = "SELECT string_agg(seq_id || ' ' || class, ', ' ORDER BY seq_id) FROM tidemark.dead_letter"
      #expect(try await database.value(SQL(text: letters), as: String.self) == "2 event, 3 parked, 4 parked")
      _ = try programs.program("", name: "mended")
      let replay = try await database.connected { session in
        Replay(shape: try await StoreShape.read(session, schema: "public"), node: "test")
      }
      for sequence: Int64 in [2, 3, 4] {
        let outcome = try await database.connected {
          try await ShardSessions.prepare($0)
          return try await replay.replay(sequence, settings.projections[0], $0)
        }
        #expect(outcome == .applied)
      }
      #expect(
        try await database.value("SELECT array_agg(seq ORDER BY seq)::text FROM sum", as: String.self)
          == "{1,2,3,4,5,6}")
    }
  }
}
