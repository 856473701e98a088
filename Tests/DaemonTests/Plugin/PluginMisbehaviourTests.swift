import Books
import Daemon
import Foundation
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
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
      let failure = try await daemon.observed.first("it is told") { observation -> Problem? in
        let troubled = observation.when(.pageNarrowed, .shardRetrying, .shardPaused)
        return troubled?.shard?.projection == "Plug" ? troubled?.failure : nil
      }
      #expect(failure.code?.text == code, "\(failure)")
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
      "TM502", "exited with status 3",
      python("pass", before: "if not is_mended(): print('no stamps', file=sys.stderr); sys.exit(3)"))
  }

  @Test func `by exiting in the middle of a page is handed that page again`() async throws {
    try await meets(
      "TM502", "exited with status 0",
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

  /// Each way to fail on one event without a word about it.
  @Test(arguments: [
    ("raise ValueError('too long')", "TM502"), ("os.kill(os.getpid(), signal.SIGSEGV)", "TM502"),
    ("sys.exit(0)", "TM502"),
    ("os.close(1)\nwhile True: time.sleep(0.1)", "TM503"), ("print('nonsense', flush=True); return None", "TM505"),
    ("return {\"applied\": {\"ceiling\": 100000}}", "TM507"), ("time.sleep(60)", "TM504"),
  ])
  func `on one event alone makes a dead letter of that, and applies the others`(misdeed: String, code: String)
    async throws
  {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for event in events:
              if event["data"].get("bad"):
      \(misdeed.split(separator: "\n").map { "            \($0)" }.joined(separator: "\n"))
          for event in events: note("seen", event["seq_id"])
          return applied(page)
      """)
    let keys = code == "TM504" ? "timeout = \"700ms\"\n" : ""
    let settings = try await database.installPlugin([plugin], keys: keys + Self.sql)
    try await database.append(data: (1...20).map { $0 == 11 || $0 == 17 ? #"{"bad": true}"# : "{}" })
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp(within: .seconds(60))
      let told = daemon.observed.all.filter { $0.fact == .deadLetter && $0.shard?.projection == "Plug" }
      #expect(told.map { $0[.sequence] } == [11, 17])
    }
    let letters = try await database.value(
      "SELECT string_agg(seq_id || ' ' || class || ' ' || sqlstate, ', ' ORDER BY seq_id) FROM tidemark.dead_letter",
      as: String?.self)
    #expect(letters == "11 event \(code), 17 event \(code)")
    #expect(Set(programs.lines("seen")).count == 18)
  }

  @Test func `in the replay of a dead letter leaves the letter, with the reason`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for event in events:
              if event["data"].get("bad") and not os.path.exists(directory + "/mended"): os.abort()
              note("seen", event["seq_id"])
          return applied(page)
      """)
    let toml = "[projections.Plug]\nexec = [\"\(plugin)\"]\n" + Self.sql
    let settings = try await database.install(toml)
    let config = try Program.settings(database.conninfo, toml)
    try await database.append(data: ["{}", #"{"bad": true}"#, "{}"])
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp(within: .seconds(60))
      let words = ["dead-letters", "replay", "--shard", "Plug", "--yes", "-c", config]
      let failed = try await Program.run(words)
      #expect(
        failed.code == 1 && (failed.output + failed.error).contains("the plugin was killed by signal 6"), "\(failed)")
      #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 1)
      #expect(!programs.lines("seen").contains("2"))
      _ = try programs.program("", name: "mended")
      let replayed = try await Program.run(words)
      #expect(replayed.code == 0, "\(replayed)")
      #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
      #expect(programs.lines("seen").filter { $0 == "2" }.count == 1)
    }
  }

  @Test func `on one event stops the shard there, where the settings say so`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          if any(event["data"].get("bad") for event in events): sys.exit(1)
          return applied(page)
      """)
    let settings = try await database.installPlugin(
      [plugin], keys: Self.sql + "\n[errors]\nskip_apply_errors = false\n")
    try await database.append(data: (1...20).map { $0 == 11 ? #"{"bad": true}"# : "{}" })
    try await withDaemon(settings) { daemon in
      let stopped = try await daemon.observed.first("it stops") { $0.when(.shardStopped)?.failure }
      #expect(stopped.sequence == 11 && stopped.code?.text == "TM502")
      #expect(try await database.position("Plug:All") == 10)
    }
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
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
      "TM505", "not a message of the protocol",
      python("sys.stdout.buffer.write(b\"\(written)\\n\"); sys.stdout.flush()"))
  }

  @Test func `by answering for another page moves no position`() async throws {
    try await meets(
      "TM507", "answered for a page up to 100",
      python("return {\"applied\": {\"ceiling\": 100}}"))
  }

  @Test func `by telling the failure of an event it was not handed makes no letter`() async throws {
    try await meets(
      "TM507", "reported a failure of event 77, which is not in its page",
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
      "TM507", "answered before reading the whole page",
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

  @Test func `by closing its input in the middle of a page has that page not applied, whatever it says`() async throws {
    // One piece, which is more than the pipe holds: the last write is the one that fails.
    let data = (1...3).map { _ in "\"\(String(repeating: "x", count: 50_000))\"" }
    try await meets(
      "TM507", "answered before reading the whole page",
      { programs in
        try programs.program(
          """
          #!/usr/bin/python3
          import json, os, time
          directory = \(String(reflecting: programs.directory))
          # Without a buffer, so that the pipe is full when it is closed.
          input = open(0, "rb", 0, closefd=False)
          input.readline(); print('{"ready":{"protocol":1}}', flush=True)
          while line := input.readline():
              page = json.loads(line)["page"]
              applied = json.dumps({"applied": {"ceiling": page["ceiling"]}})
              if not os.path.exists(directory + "/mended"): os.close(0); print(applied, flush=True); time.sleep(60)
              rest = open(0, "rb", closefd=False)
              for _ in range(page["count"]):
                  event = json.loads(rest.readline())
                  open(directory + "/seen", "a").write(str(event["seq_id"]) + "\\n")
              print(applied, flush=True)
          """)
      }, data: data)
  }

  @Test func `by writing a line beyond all bounds is ended`() async throws {
    try await meets(
      "TM506", "a line from or for the plugin is longer than 64 MiB",
      python("for _ in range(65): sys.stdout.write('x' * (1 << 20))\nsys.stdout.flush()\ntime.sleep(60)"))
  }

  @Test(arguments: [
    ("TM505", "not a message of the protocol", "print('hello there', flush=True)"),
    ("TM507", "answered before it was handed a page", "say(applied(page))"),
    ("TM503", "closed its standard output", "os.close(1)"),
    ("TM502", "exited with status 3", "os._exit(3)"),
  ])
  func `between two pages has the next fail, once, and as the policy says`(code: String, words: String, misdeed: String)
    async throws
  {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try python("note('seen', events[0]['seq_id'])\nsay(applied(page))\n\(misdeed)\ntime.sleep(60)")(
      programs)
    let settings = try await database.installPlugin([plugin], keys: Self.sql)
    try await database.append(type: "x", count: 1)
    try await withDaemon(settings) { daemon in
      let lost = try await daemon.observed.first("it is told") { $0.when(.pluginLost)?.failure }
      #expect(lost.code?.text == code && lost.message.contains(words), "\(lost)")
      try await eventually("its page counts") { try await database.position("Plug:All") == 1 }
      _ = try programs.program("", name: "mended")
      try await database.append(type: "x", count: 1)
      try await daemon.caughtUp()
      let failures = daemon.observed.all.compactMap { observation -> Problem? in
        if observation.fact == .shardRetrying, let shard = observation.shard, let failure = observation.failure,
          shard.projection == "Plug"
        {
          failure
        } else {
          nil
        }
      }
      #expect(failures.map(\.code?.text) == [code], "\(failures)")
    }
    #expect(programs.lines("seen") == ["1", "2"] && programs.lines("hello").count == 2)
  }

  @Test func `by never answering is ended after its timeout, and handed fewer events`() async throws {
    try await meets(
      "TM504", "did not answer the page after 0 of 5 events within 0.5 seconds",
      python("note('pages', page['count']); time.sleep(60)"), keys: "timeout = \"500ms\"")
  }

  @Test func `by never reporting ready is ended after its timeout`() async throws {
    try await meets(
      "TM504", "did not report ready within 0.5 seconds",
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
      let failure = try await daemon.observed.first("it stops") { $0.when(.shardStopped)?.failure }
      #expect(failure.message == "the plugin refuses to run: no licence" && failure.code?.text == "TM508")
      _ = try programs.program("", name: "mended")
      try await database.connected { session in
        for kind: OperatorRequest.Kind in [.stop, .run] {
          try await ShardRequests().write(kind, for: nil, shards: ["Plug:All"], by: "test", session)
          try await eventually("the request is obeyed") {
            kind == .run
              || daemon.observed.all.contains { $0.fact == .shardHalted }
          }
        }
      }
      try await daemon.caughtUp()
      #expect(programs.lines("seen") == ["1", "2"])
    }
  }

  @Test func `by speaking another version of the protocol stops its shard, with what to do about it`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python("", before: "say({'ready': {'protocol': 2}}); time.sleep(60)")
    try await withDaemon(try await database.installPlugin([plugin])) { daemon in
      let failure = try await daemon.observed.first("it stops") { $0.when(.shardStopped)?.failure }
      #expect(failure.message == "the plugin speaks version 2 of the protocol, but this daemon speaks 1", "\(failure)")
      #expect(failure.code?.text == "TM508" && failure.hint?.contains("for version 1") == true, "\(failure)")
    }
  }

  @Test func `by saying too much at once has it cut`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          say({"log": {"message": "x" * 5000}})
          return applied(page)
      """)
    let settings = try await database.installPlugin([plugin])
    try await database.append(type: "x", count: 1)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let said = daemon.observed.all.compactMap { $0.when(.pluginSaid)?[.text] }
      #expect(said.map(\.count) == [2_000, 2_000, 1_000])
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
    let said = observed.all.count { $0.fact == .pluginSaid }
    let dropped = observed.all.reduce(0) { sum, observation in
      if observation.fact == .pluginLinesDropped, let count = observation[.count] { sum + count } else { sum }
    }
    #expect(said >= 100 && said <= 300)
    #expect(said + dropped == 5_000)
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
}
