import Operator
import Books
import Daemon
import EventStore
import Foundation
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

/// Notes each event it is handed, in order.
private let noting = """
  def answer(page, events):
      for event in events: note("seen", event["seq_id"])
      return applied(page)
  """

@Suite(.gated) struct `A plugin with effects outside` {
  @Test func `sees every event once and in order, and the position follows`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installPlugin([try programs.python(noting)])
    try await database.append(type: "x", count: 2_500)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(programs.lines("seen") == (1...2_500).map(String.init))
      try await database.append(type: "y", count: 10)
      try await daemon.caughtUp()
      #expect(programs.lines("seen") == (1...2_510).map(String.init))
    }
    #expect(try await database.position("Plug:All") == 2_510)
    #expect(programs.lines("hello").count == 1)
    #expect(programs.lines("hello")[0].contains(#""shard": "Plug:All""#))
    #expect(programs.lines("ended") == ["end of input"])
  }

  @Test func `is greeted with its position after a restart, and sees nothing twice`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installPlugin([try programs.python(noting)])
    for round in 1...3 {
      try await database.append(type: "x", count: 10)
      try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
      #expect(programs.lines("seen") == (1...(10 * round)).map(String.init))
    }
    #expect(programs.lines("hello").map { $0.contains("\"position\": 0") } == [true, false, false])
    #expect(programs.lines("hello")[2].contains("\"position\": 20"))
  }

  @Test func `is handed an event as the manual has it`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for event in events: note("event", json.dumps(event))
          return applied(page)
      """)
    let settings = try await database.installPlugin([plugin], keys: "events = [\"a\"]")
    try await database.append("b", data: ["{}"])
    try await database.append("a", data: [#"{"text": "ü \"x\" \\ \n", "n": 1.500, "list": [1, null]}"#])
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    let lines = programs.lines("event")
    try #require(lines.count == 1)
    let event = try JSONSerialization.jsonObject(with: Data(lines[0].utf8)) as! [String: Any]
    #expect(event["seq_id"] as? Int == 2 && event["version"] as? Int == 1 && event["type"] as? String == "a")
    #expect(event["tenant_id"] as? String == "*DEFAULT*")
    #expect((event["data"] as! [String: Any])["text"] as? String == "ü \"x\" \\ \n")
    let stored = try await database.value(
      """
      SELECT concat_ws('|', id, stream_id, to_char("timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) FROM mt_events WHERE seq_id = 2
      """, as: String.self)
    let given = ["id", "stream_id", "timestamp"].map { event[$0] as! String }.joined(separator: "|")
    #expect(given == stored)
    #expect(try await database.position("Plug:All") == 2)
  }

  @Test(arguments: ["event", "serialization"])
  func `tells an event that failed, which becomes a dead letter, and goes on after it`(kind: String) async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for event in events:
              if "bad" in event["data"]: return failed(event, "\(kind)", "no such customer")
              note("seen", event["seq_id"])
          return applied(page)
      """)
    let settings = try await database.installPlugin([plugin])
    let bad: Set<Int> = [1, 7, 8, 30]
    try await database.append(data: (1...30).map { bad.contains($0) ? #"{"bad": 1}"# : "{}" })
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(programs.lines("seen") == (1...30).filter { !bad.contains($0) }.map(String.init))
      let letters = try await database.connected { session in
        try await DeadLetters(try await StoreShape.read(session, schema: "public"))
          .list(DeadLetters.Filter(), limit: 10, session)
      }
      #expect(letters.map(\.sequence) == [1, 7, 8, 30])
      #expect(letters.allSatisfy { $0.message == "no such customer" && $0.class == "event" })
      #expect(letters[0].sqlstate == (kind == "serialization" ? "22000" : nil))
    }
    #expect(try await database.position("Plug:All") == 30)
  }

  @Test func `passes over an event of a type it does not know without a letter`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for event in events:
              if event["type"] != "x": return failed(event, "unknown", "what is this")
              note("seen", event["seq_id"])
          return applied(page)
      """)
    let settings = try await database.installPlugin([plugin])
    for type in ["x", "strange", "x"] { try await database.append(type: type, count: 1) }
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    #expect(programs.lines("seen") == ["1", "3"])
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
  }

  @Test func `that is told to stop at a bad event has everything before it, and none after`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for event in events:
              if "bad" in event["data"]: return failed(event, message="stop here")
              note("seen", event["seq_id"])
          return applied(page)
      """)
    let settings = try await database.installPlugin(
      [plugin], keys: "[[on_error]]\nprojection = \"Plug\"\nclass = \"event\"\ndo = [\"retry 10ms\", \"stop\"]")
    try await database.append(data: ["{}", "{}", #"{"bad": 1}"#, "{}"])
    try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.first("it stops") { $0.when(.shardStopped)?.failure }
      #expect(failure.message == "stop here" && failure.sequence == 3)
      #expect(try await database.position("Plug:All") == 2)
      #expect(programs.lines("seen") == ["1", "2"])
    }
  }

  @Test func `that fails transiently is tried again from the event that failed`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      tries = 0
      def answer(page, events):
          global tries
          for event in events:
              if "busy" in event["data"]:
                  tries += 1
                  if tries < 3: return failed(event, "transient", "the mail server is away")
              note("seen", event["seq_id"])
          return applied(page)
      """)
    let settings = try await database.installPlugin([plugin])
    try await database.append(data: ["{}", #"{"busy": 1}"#, "{}"])
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(programs.lines("seen") == ["1", "2", "3"])
      #expect(
        daemon.observed.all.contains {
          if $0.fact == .shardRetrying, let failure = $0.failure {
            failure.message == "the mail server is away"
          } else {
            false
          }
        })
    }
    #expect(programs.lines("hello").count == 1, "the child was not started again")
  }

  @Test func `runs where and with what the settings say, and its errors are entries of the daemon's log`() async throws
  {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      note("where", os.getcwd())
      note("where", os.environ["SHOP"] + os.environ.get("NOTIFY_SOCKET", " none"))
      note("where", sorted(name for name in os.environ if name.startswith("PG") or name == "CREDENTIALS_DIRECTORY"))
      note("where", os.getpgrp() == os.getpid())
      print("to standard error", file=sys.stderr, flush=True)
      def answer(page, events): return applied(page)
      """)
    let projection = """
      [projections.Plug]
      exec = ["\(plugin)", "argument"]
      working_directory = "\(programs.directory)"
      env = { SHOP = "books", PGHOST = "given" }
      """
    _ = try await database.install(projection)
    let socket = try NotifySocket()
    let daemon = try await DaemonProcess.start(
      try Program.settings(database.conninfo, projection),
      environment: [
        "NOTIFY_SOCKET": socket.path, "PGPASSWORD": "geheim", "PGHOST": "own", "CREDENTIALS_DIRECTORY": "/run/own",
      ])
    try await eventually("it has greeted") { !programs.lines("hello").isEmpty && socket.messages.contains("READY=1") }
    let outcome = try await daemon.stop()
    #expect(outcome.code == 0, "\(outcome)")
    try #require(programs.lines("where").count == 4)
    #expect(programs.lines("where")[0].hasSuffix(programs.directory))
    #expect(programs.lines("where")[1...] == ["books none", "['PGHOST']", "True"])
    let entry = try #require(outcome.error.split(separator: "\n").first { $0.contains("Message from the plugin") })
    #expect(entry.contains(" info ") && entry.hasSuffix(#"shard=Plug:All text="to standard error""#), "\(entry)")
  }

  @Test(arguments: [OperatorRequest.Kind.stop, .pause])
  func `is the program as it is by then when an operator lets its shard go on`(kind: OperatorRequest.Kind) async throws
  {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installPlugin([try programs.python("def answer(page, events): pass")])
    try await withDaemon(settings) { daemon in
      try await eventually("it runs") { programs.lines("hello").count == 1 }
      try await database.connected { session in
        try await ShardRequests().write(kind, for: nil, shards: ["Plug:All"], by: "test", session)
      }
      try await eventually("it has ended") { programs.lines("ended").count == 1 }
      _ = try programs.python(noting)
      try await database.append(type: "x", count: 2)
      try await database.connected { session in
        try await ShardRequests().write(.run, for: nil, shards: ["Plug:All"], by: "test", session)
      }
      try await daemon.caughtUp()
      #expect(programs.lines("seen") == ["1", "2"])
    }
  }

  @Test func `is the program as it is by then when its shard was stopped by the policy`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installPlugin([
      try programs.python("def answer(page, events): return failed(events[0], 'definition', 'no such template')")
    ])
    try await database.append(type: "x", count: 2)
    try await withDaemon(settings) { daemon in
      _ = try await daemon.observed.first("it stops") { $0.when(.shardStopped) }
      try await eventually("it has ended") { programs.lines("ended").count == 1 }
      _ = try programs.python(noting)
      try await database.connected { session in
        try await ShardRequests().write(.run, for: nil, shards: ["Plug:All"], by: "test", session)
      }
      try await daemon.caughtUp()
      #expect(programs.lines("seen") == ["1", "2"])
    }
  }

  @Test func `that answers with statements stops, and a replay fails, rather than lose them without a word`()
    async throws
  {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          if "bad" in events[0]["data"] and not os.path.exists(directory + "/mended"): return failed(events[0])
          return applied(page, sql=[{"text": "INSERT INTO sent VALUES (1)"}])
      """)
    let settings = try await database.installPlugin([plugin])
    try await database.append(data: [#"{"bad": 1}"#, "{}"])
    let message = #"a statement of the plugin's answer: with effects = "external" statements are not applied"#
    try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.first("it stops") { $0.when(.shardStopped)?.failure }
      #expect(failure.message == message && failure.code?.text == "TM510", "\(failure)")
      #expect(failure.hint?.contains(#"Set effects = "database""#) == true, "\(failure)")
      #expect(try await database.position("Plug:All") == 1)
    }
    _ = try programs.program("", name: "mended")
    let outcome = try await database.connected { session in
      try await ShardSessions.prepare(session)
      let shape = try await StoreShape.read(session, schema: "public")
      return try await Replay(shape: shape, node: "test").replay(1, settings.projections[0], session)
    }
    guard case .failed(let text) = outcome else { return #expect(Bool(false), "\(outcome)") }
    #expect(text.contains(message), "\(text)")
  }

  @Test func `speaks into the log with its shard's name`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          print("to standard error", file=sys.stderr, flush=True)
          say({"log": {"level": "warning", "message": "low on stamps"}})
          return applied(page)
      """)
    let settings = try await database.installPlugin([plugin])
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 1)
      try await daemon.caughtUp()
      for (level, text) in [(LogLevel.info, "to standard error"), (.warning, "low on stamps")] {
        _ = try await daemon.observed.first(text) { observation -> Bool? in
          guard observation.fact == .pluginSaid, let shard = observation.shard, observation.level == level,
            observation[.text] == text
          else { return nil }
          return "\(shard)" == "Plug:All"
        }
      }
    }
  }

  @Test func `is exchanged for another at its position when the settings change, and not otherwise`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(noting)
    let settings = try await database.installPlugin([plugin])
    try await database.append(type: "x", count: 5)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let same = try await database.installPlugin([plugin])
      await daemon.daemon.reload { same }
      let changed = try await database.installPlugin([plugin], keys: "env = { A = \"b\" }")
      await daemon.daemon.reload { changed }
      try await eventually("another is greeted") { programs.lines("hello").count == 2 }
      try await database.append(type: "x", count: 5)
      try await daemon.caughtUp()
    }
    #expect(programs.lines("ended").count == 2)
    #expect(programs.lines("hello").count == 2 && programs.lines("hello")[1].contains("\"position\": 5"))
    #expect(programs.lines("seen") == (1...10).map(String.init))
  }

  /// The page is with the plugin, and on the server nothing is open that belongs to it.
  @Test func `holds no session and no transaction while it works, so many slow ones hold up nobody`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          note("begun", hello["shard"])
          while not os.path.exists(directory + "/go"): time.sleep(0.01)
          return applied(page)
      """)
    let slow = (1...12).map { "[projections.Slow\($0)]\nexec = [\"\(plugin)\"]\n" }.joined()
    let settings = try await database.install(
      slow + """
        [projections.Quick]
        tables = ["quick"]
        setup = "CREATE TABLE quick (seq bigint)"
        sql = "INSERT INTO quick SELECT seq_id FROM batch"
        """, database: "pool_size = 2")
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 5)
      try await eventually("all are at work") { programs.lines("begun").count == 12 }
      let open = try await database.value(
        """
        SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'tidemark' AND state LIKE 'idle in transaction%'
        """, as: Int.self)
      #expect(open == 0)
      try await daemon.caughtUp(["Quick:All"])
      _ = try programs.program("", name: "go")
      try await daemon.caughtUp()
    }
  }
}
