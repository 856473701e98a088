import Operator
import Daemon
import EventStore
import Foundation
import Postgres
import Settings
import TestSupport
import Testing

@Suite(.gated) struct `Large events for a plugin` {
  @Test func `are handed over whole, beside small ones`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for event in events: note("seen", "%d %d" % (event["seq_id"], len(json.dumps(event["data"]))))
          return applied(page)
      """)
    let settings = try await database.installPlugin([plugin])
    try await database.append(type: "x", count: 3)
    try await database.script(
      "SELECT tidemark.append(gen_random_uuid(), jsonb_build_array(jsonb_build_object('type', 'x', 'data', repeat('x', 20000000))))"
    )
    try await database.append(type: "x", count: 3)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp(within: .seconds(60))
      #expect(programs.lines("seen") == ["1 2", "2 2", "3 2", "4 20000002", "5 2", "6 2", "7 2"])
    }
  }

  @Test func `beyond the length of a line become dead letters, and the others are handed over`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for event in events: note("seen", event["seq_id"])
          return applied(page)
      """)
    let settings = try await database.installPlugin([plugin])
    try await database.append(type: "x", count: 2)
    try await database.script(
      "SELECT tidemark.append(gen_random_uuid(), jsonb_build_array(jsonb_build_object('type', 'x', 'data', repeat('x', 68000000))))"
    )
    try await database.append(type: "x", count: 1)
    try await withDaemon(settings) { daemon in try await daemon.caughtUp(within: .seconds(60)) }
    #expect(programs.lines("seen") == ["1", "2", "4"])
    #expect(
      try await database.value(
        "SELECT concat_ws(' ', seq_id, class, sqlstate) FROM tidemark.dead_letter", as: String.self)
        == "3 event TM506")
    let replayed = try await database.connected { session in
      try await ShardSessions.prepare(session)
      let shape = try await StoreShape.read(session, schema: "public")
      return try await Replay(shape: shape, node: "test").replay(3, settings.projections[0], session)
    }
    guard case .failed(let text) = replayed else { return #expect(Bool(false), "\(replayed)") }
    #expect(text.contains("a line from or for the plugin is longer than 64 MiB"), "\(text)")
    #expect(programs.lines("seen") == ["1", "2", "4"])
    let tried = try await Program.run([
      "plugin", "try", "-c", try Program.settings(database.conninfo, ""), plugin, "--limit", "4",
    ])
    #expect(
      tried.code == 1 && tried.output.contains(": a line from or for the plugin is longer than 64 MiB"), "\(tried)")
    #expect(programs.lines("seen") == ["1", "2", "4", "1", "2", "4"])
  }

  @Test func `are tried page by page, as many as were asked for`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for event in events: note("seen", event["seq_id"])
          return applied(page)
      """)
    _ = try await database.install("")
    for _ in 1...4 {
      try await database.append(type: "y", count: 1)
      try await database.script(
        "SELECT tidemark.append(gen_random_uuid(), jsonb_build_array(jsonb_build_object('type', 'x', 'data', repeat('x', 5000000))))"
      )
    }
    let config = try Program.settings(database.conninfo, "")
    let tried = try await Program.run(["plugin", "try", "-c", config, plugin, "--limit", "3", "--type", "x"])
    #expect(tried.code == 0, "\(tried)")
    #expect(programs.lines("seen") == ["2", "4", "6"])
  }

  /// 400 MB go through a daemon that holds at most two pages.
  @Test func `do not make the daemon grow when the plugin is slow`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.program(
      """
      #!/usr/bin/python3
      import json, sys, time
      sys.stdin.readline(); print('{"ready":{"protocol":1}}', flush=True)
      for line in sys.stdin:
          page = json.loads(line)["page"]
          for _ in range(page["count"]):
              time.sleep(0.02)
              assert len(sys.stdin.readline()) > 5000000
          print(json.dumps({"applied": {"ceiling": page["ceiling"]}}), flush=True)
      """)
    let projection = "[projections.Plug]\nexec = [\"\(plugin)\"]\n"
    _ = try await database.install(projection)
    try await database.script(
      """
      INSERT INTO mt_streams (id, version) VALUES (gen_random_uuid(), 0);
      INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
      SELECT nextval('mt_events_sequence'), gen_random_uuid(), (SELECT id FROM mt_streams LIMIT 1), i, to_jsonb(repeat('x', 5000000)), 'x'
        FROM generate_series(1, 80) AS i
      """)
    let daemon = try await DaemonProcess.start(try Program.settings(database.conninfo, projection))
    try await eventually(within: .seconds(90), "all have been read") { try await database.position("Plug:All") == 80 }
    let status = try String(contentsOfFile: "/proc/\(daemon.pid)/status", encoding: .utf8)
    let peak = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") })
    #expect(Int(peak.split(separator: " ")[1])! < 200 << 10, "\(peak)")
    #expect(try await daemon.stop().code == 0)
  }
}
