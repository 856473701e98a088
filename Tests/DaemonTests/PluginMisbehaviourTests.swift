import Daemon
import EventStore
import Foundation
import Postgres
import Projection
import Settings
import Telemetry
import Testing

/// Whatever a plugin does, its shard says so, its position stays, nothing is lost, nobody else waits, and the daemon stops.
@Suite(.gated) struct `A plugin that misbehaves` {
  private static let sql = """

    [projections.Other]
    tables = ["other"]
    setup = "CREATE TABLE other (seq bigint)"
    sql = "INSERT INTO other SELECT seq_id FROM batch"
    [[on_error]]
    class = "transient"
    do = ["retry 20ms", "pause 200ms"]
    """

  /// Runs a plugin that misbehaves until it has been told what is wrong; then lets it behave, and all events have been seen.
  private func meets(
    _ code: String, _ words: String, _ plugin: (PluginPrograms) throws -> String, keys: String = "",
    data: [String]? = nil,
    mend: @Sendable (PluginPrograms) throws -> Void = { _ = try $0.program("", name: "mended") }
  ) async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installPlugin([try plugin(programs)], keys: keys + Self.sql)
    try await database.append(data: data ?? Array(repeating: "{}", count: 5))
    let count = try await database.value("SELECT count(*) FROM mt_events", as: Int.self)
    try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.first("it is told") { observation -> Failure? in
        switch observation {
        case .shardRetrying(let shard, let failure, _, _) where shard.projection == "Plug": failure
        case .shardPaused(let shard, let failure, _) where shard.projection == "Plug": failure
        default: nil
        }
      }
      #expect(failure.sqlState == code, "\(failure)")
      #expect(failure.message.contains(words), "\(failure)")
      #expect(try await database.position("Plug:All") == 0)
      try await daemon.caughtUp(["Other:All"])
      try mend(programs)
      try await daemon.caughtUp(within: .seconds(40))
      #expect(Set(programs.lines("seen")) == Set((1...count).map(String.init)))
    }
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
  }

  /// One that behaves once the file `mended` is there, and before that does something else with the page.
  private func python(_ misdeed: String, before: String = "") -> (PluginPrograms) throws -> String {
    { programs in
      try programs.python(
        """
        def is_mended(): return os.path.exists(directory + "/mended")
        def misdeed(page, events):
        \(misdeed.split(separator: "\n").map { "    \($0)" }.joined(separator: "\n"))
        def answer(page, events):
            if not is_mended(): return misdeed(page, events)
            for event in events: note("seen", event["seq_id"])
            return applied(page)
        """, before: before)
    }
  }

  @Test func `because it exits at once is started again by the policy`() async throws {
    try await meets(
      "TM502", "ended with status 3",
      python("pass", before: "if not is_mended(): print('no stamps', file=sys.stderr); sys.exit(3)"))
  }

  @Test func `by exiting in the middle of a page is handed that page again`() async throws {
    try await meets(
      "TM502", "ended with status 0",
      { programs in
        try programs.program(
          """
          #!/usr/bin/python3
          import json, os, sys
          directory = \(String(reflecting: programs.directory))
          sys.stdin.readline(); print('{"ready":{"protocol":1}}', flush=True)
          for line in sys.stdin:
              page = json.loads(line)["page"]
              if not os.path.exists(directory + "/mended"):
                  sys.stdin.readline(); sys.exit(0)
              for _ in range(page["count"]):
                  event = json.loads(sys.stdin.readline())
                  open(directory + "/seen", "a").write(str(event["seq_id"]) + "\\n")
              print(json.dumps({"applied": {"ceiling": page["ceiling"]}}), flush=True)
          """)
      })
  }

  @Test func `by closing its output is ended and started again`() async throws {
    try await meets(
      "TM503", "closed its standard output",
      python("os.close(1)\nwhile True: time.sleep(0.1)"))
  }

  @Test(arguments: ["hello there", "{\"applied\":", "[1]", "{\"applied\":{\"ceiling\":\"x\"}}", "\\xff\\xfe\\x00"])
  func `by writing garbage is told with what it wrote`(garbage: String) async throws {
    let written = garbage.replacing("\"", with: "\\\"")
    try await meets(
      "TM505", "no message of the protocol",
      python("sys.stdout.buffer.write(b\"\(written)\\n\"); sys.stdout.flush()"))
  }

  @Test func `by answering for another page moves no position`() async throws {
    try await meets(
      "TM507", "answered for a page up to 100",
      python("return {\"applied\": {\"ceiling\": 100}}"))
  }

  @Test func `by telling the failure of an event it was not handed makes no letter`() async throws {
    try await meets(
      "TM507", "said that event 77 failed, which is not in its page",
      python("return {\"failed\": {\"seq_id\": 77, \"message\": \"x\"}}"))
  }

  @Test func `by answering before there is a page is ended`() async throws {
    try await meets(
      "TM507", "answered before it was handed a page",
      python("pass", before: "if not is_mended(): say({'applied': {'ceiling': 5}}); time.sleep(60)"))
  }

  @Test func `by answering before it has read its page is ended`() async throws {
    let data = (1...5).map { _ in "\"\(String(repeating: "x", count: 400_000))\"" }
    try await meets(
      "TM507", "answered before it had read the page",
      { programs in
        try programs.program(
          """
          #!/usr/bin/python3
          import json, os, sys, time
          directory = \(String(reflecting: programs.directory))
          sys.stdin.readline(); print('{"ready":{"protocol":1}}', flush=True)
          for line in sys.stdin:
              page = json.loads(line)["page"]
              if not os.path.exists(directory + "/mended"):
                  print(json.dumps({"applied": {"ceiling": page["ceiling"]}}), flush=True); time.sleep(60)
              for _ in range(page["count"]):
                  event = json.loads(sys.stdin.readline())
                  open(directory + "/seen", "a").write(str(event["seq_id"]) + "\\n")
              print(json.dumps({"applied": {"ceiling": page["ceiling"]}}), flush=True)
          """)
      }, data: data)
  }

  @Test func `by never answering is ended after its timeout, and handed fewer events`() async throws {
    try await meets(
      "TM504", "did not answer within 0.5 seconds",
      python("note('pages', page['count']); time.sleep(60)"), keys: "timeout = \"500ms\"")
  }

  @Test func `by never saying its first word is ended after its timeout`() async throws {
    try await meets(
      "TM504", "waiting for its first word",
      python("pass", before: "if not is_mended(): time.sleep(60)"), keys: "timeout = \"500ms\"")
  }

  @Test func `by not reading what it is handed is ended after its timeout`() async throws {
    let data = (1...5).map { _ in "\"\(String(repeating: "x", count: 400_000))\"" }
    try await meets(
      "TM504", "did not answer",
      { programs in
        let good = try python("pass")(programs)
        return try programs.program(
          """
          #!/bin/sh
          [ -e \(programs.directory)/mended ] && exec \(good)
          read -r hello; echo '{"ready":{"protocol":1}}'; exec sleep 60
          """, name: "outer")
      }, keys: "timeout = \"500ms\"", data: data)
  }

  @Test func `by refusing stops its shard, which goes on when it is started`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try python(
      "pass", before: "if not is_mended(): say({'refused': {'message': 'no licence'}}); time.sleep(60)")(programs)
    let settings = try await database.installPlugin([plugin])
    try await database.append(type: "x", count: 2)
    try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.first("it stops") { observation -> Failure? in
        if case .shardStopped(_, let failure) = observation { failure } else { nil }
      }
      #expect(failure.message == "the plugin refuses to run: no licence" && failure.sqlState == "TM508")
      _ = try programs.program("", name: "mended")
      try await database.connected { session in
        for kind: ShardWishes.Wish.Kind in [.stop, .run] {
          try await ShardWishes().wish(kind, for: nil, shards: ["Plug:All"], by: "test", session)
          try await eventually("the wish is obeyed") {
            kind == .run
              || daemon.observed.all.contains { if case .shardHalted = $0 { true } else { false } }
          }
        }
      }
      try await daemon.caughtUp()
      #expect(programs.lines("seen") == ["1", "2"])
    }
  }

  @Test func `by flooding its errors is heard, up to a limit, and its work goes on`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for number in range(200000): print("flood %d" % number, file=sys.stderr)
          sys.stderr.write("x" * 5000000); sys.stderr.flush()
          for event in events: note("seen", event["seq_id"])
          return applied(page)
      """)
    let settings = try await database.installPlugin([plugin])
    try await database.append(type: "x", count: 3)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(programs.lines("seen") == ["1", "2", "3"])
    }
  }

  @Test func `by flooding leaves a count of what is not in the log`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for number in range(5000): print("flood %d" % number, file=sys.stderr)
          sys.stderr.flush()
          return applied(page)
      """)
    let settings = try await database.installPlugin([plugin])
    try await database.append(type: "x", count: 1)
    let observed = try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      return daemon.observed
    }
    let said = observed.all.count { if case .pluginSaid = $0 { true } else { false } }
    let dropped = observed.all.reduce(0) { sum, observation in
      if case .pluginLinesDropped(_, let count) = observation { sum + count } else { sum }
    }
    #expect(said >= 100 && said <= 300)
    #expect(said + dropped == 5_000)
  }

  @Test func `by leaving a grandchild behind takes it along when it ends`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      "def answer(page, events): return applied(page)",
      before: """
        child = subprocess.Popen(["/bin/sh", "-c", "trap '' TERM HUP; while :; do sleep 1; done"])
        note("grandchild", child.pid)
        """)
    let settings = try await database.installPlugin([plugin])
    let began = ContinuousClock.now
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 1)
      try await daemon.caughtUp()
    }
    #expect(ContinuousClock.now - began < .seconds(25))
    let pid = try #require(pid_t(programs.lines("grandchild").first ?? ""))
    try await eventually("the grandchild is gone") { !Self.lives(pid) }
    #expect(programs.lines("ended") == ["end of input"])
  }

  @Test func `whose child runs away does not keep the daemon from stopping`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      "def answer(page, events): return applied(page)",
      before: """
        child = subprocess.Popen(["/usr/bin/setsid", "/bin/sleep", "30"])
        note("grandchild", child.pid)
        """)
    let settings = try await database.installPlugin([plugin])
    let began = ContinuousClock.now
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 1)
      try await daemon.caughtUp()
    }
    #expect(ContinuousClock.now - began < .seconds(20))
    if let pid = pid_t(programs.lines("grandchild").first ?? "") { kill(pid, SIGKILL) }
  }

  @Test func `by ignoring SIGTERM and the end of its input is killed`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events): return applied(page)
      """,
      before: "signal.signal(signal.SIGTERM, signal.SIG_IGN); note(\"pid\", os.getpid())")
    let text = try String(contentsOfFile: plugin, encoding: .utf8) + "\nwhile True: time.sleep(1)\n"
    _ = try programs.program(text)
    let settings = try await database.installPlugin([plugin])
    let observed = try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 1)
      try await daemon.caughtUp()
      return daemon.observed
    }
    let pid = try #require(pid_t(programs.lines("pid").first ?? ""))
    #expect(!Self.lives(pid))
    let how = observed.all.compactMap { if case .pluginEnded(_, let how) = $0 { how } else { nil } }
    #expect(how == ["was ended by signal 9"])
  }

  @Test func `by never answering does not keep the daemon from stopping`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      "def answer(page, events): note('begun', 1); time.sleep(600)",
      before: "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    let settings = try await database.installPlugin([plugin], keys: "timeout = \"10m\"")
    try await database.append(type: "x", count: 1)
    let stopping = try await withDaemon(settings) { _ in
      try await eventually("it is at work") { programs.lines("begun").count == 1 }
      return ContinuousClock.now
    }
    #expect(ContinuousClock.now - stopping < .seconds(20))
    #expect(try await database.position("Plug:All") == 0)
  }

  @Test func `because it is not executable, or missing, is run once it can be`() async throws {
    for isMissing in [true, false] {
      try await meets(
        "TM501", isMissing ? "there is no such file" : "it is not executable",
        { programs in
          let plugin = try python("pass")(programs)
          try FileManager.default.moveItem(atPath: plugin, toPath: programs.path("aside"))
          if !isMissing {
            try FileManager.default.copyItem(atPath: programs.path("aside"), toPath: plugin)
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: plugin)
          }
          return plugin
        },
        mend: { programs in
          _ = try programs.program("", name: "mended")
          try? FileManager.default.removeItem(atPath: programs.path("plugin"))
          try FileManager.default.moveItem(atPath: programs.path("aside"), toPath: programs.path("plugin"))
        })
    }
  }

  private static func lives(_ pid: pid_t) -> Bool {
    guard kill(pid, 0) == 0 else { return false }
    // Whoever has ended and is not waited for by its new parent still has a number.
    let state = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8).split(separator: ")").last
    return state?.hasPrefix(" Z") == false
  }
}
