import Foundation
import Postgres
import TestSupport
import Testing

@Suite(.gated) struct `The verb plugin try` {
  @Test func `runs a plugin over real events and moves nothing`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          print("a word", file=sys.stderr, flush=True)
          for event in events:
              if "bad" in event["data"]: return failed(event, message="no customer")
          return applied(page, sql=[{"text": "INSERT INTO x VALUES ($1, $2)", "values": [str(events[0]["seq_id"]), None]}])
      """)
    _ = try await database.install("")
    try await database.append(data: ["{}", "{}", #"{"bad": 1}"#, "{}", "{}", "{}"])
    let config = try Program.settings(database.conninfo, "")
    let outcome = try await Program.run(["plugin", "try", "-c", config, plugin, "--from", "2", "--limit", "4"])
    #expect(outcome.code == 1, "\(outcome)")
    #expect(outcome.error.contains("1 event failed"))
    let lines = outcome.output.split(separator: "\n").map {
      $0.replacing(#/[0-9.]+ m?s$|in [0-9.]+ m?s/#, with: "TIME")
    }
    #expect(
      lines.filter { !$0.hasPrefix("info") } == [
        "ready after TIME", "page after 1 up to 5: 4 events", "failed at 3 (event) TIME: no customer",
        "page after 3 up to 5: 2 events", "applied up to 5 TIME, with 1 statement",
        "  INSERT INTO x VALUES ($1, $2) <- 4, NULL",
      ])
    #expect(lines.contains("info: a word"))
    #expect(
      try await database.value("SELECT count(*) FROM mt_event_progression WHERE name <> 'HighWaterMark'", as: Int.self)
        == 0)
    let good = try await Program.run(["plugin", "try", "-c", config, "--from", "4", "--", plugin, "--verbose"])
    #expect(good.code == 0, "\(good)")
  }

  @Test func `has a companion in check, which finds a plugin that cannot run here`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    _ = try await database.install("")
    let plugin = try programs.program("#!/bin/sh\n")
    let config = try Program.settings(
      database.conninfo,
      """
      [projections.Good]
      exec = ["\(plugin)"]
      [projections.Bad]
      exec = ["\(programs.directory)/none"]
      [projections.Unknown]
      exec = ["no-such-program-anywhere"]
      [projections.Elsewhere]
      exec = ["plugin"]
      env = { PATH = "\(programs.directory)" }
      [projections.Nowhere]
      exec = ["sh"]
      env = { PATH = "\(programs.directory)" }
      [projections.Library]
      library = "\(programs.directory)/none.so"
      """)
    let checked = try await Program.run(["check", "-c", config])
    #expect(checked.code == 1)
    for words in [
      "4 problems found", "projections.Nowhere: the plugin sh cannot be run: no directory in PATH",
      "projections.Bad: the plugin \(programs.directory)/none cannot be run: there is no such file",
      "projections.Unknown: the plugin no-such-program-anywhere cannot be run: no directory in PATH",
      "projections.Library: the plugin \(programs.directory)/none.so cannot be run",
    ] {
      #expect(checked.error.contains(words), "\(checked.error)")
    }
    let listed = try await Program.run(["list", "-c", config])
    #expect(listed.output.contains("exec") && listed.output.contains("library"), "\(listed)")
  }

  /// systemd sets INVOCATION_ID for its services, whose sandbox may have ended the plugin.
  @Test func `names the line of the unit that may have ended a plugin, only in the unit`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    _ = try await database.install("")
    let config = try Program.settings(database.conninfo, "")
    let plugin = try programs.program("#!/bin/sh\nread hello\nkill -TRAP $$\n")
    for isService in [true, false] {
      let outcome = try await Program.run(
        ["plugin", "try", "-c", config, plugin], environment: isService ? ["INVOCATION_ID": "1"] : [:])
      #expect(outcome.error.contains("was killed by signal 5"), "\(outcome)")
      #expect(outcome.error.contains("MemoryDenyWriteExecute=no") == isService, "\(outcome)")
    }
  }

  @Test func `says what is wrong with a plugin`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    _ = try await database.install("")
    try await database.append(type: "x", count: 1)
    let config = try Program.settings(database.conninfo, "")
    let missing = try await Program.run(["plugin", "try", "-c", config, programs.path("none")])
    #expect(missing.code == 1 && missing.error.contains("there is no such file (TM501)"), "\(missing)")
    let silent = try programs.program("#!/bin/sh\nexec sleep 60\n")
    let outcome = try await Program.run(["plugin", "try", "-c", config, "--timeout", "200ms", silent])
    #expect(outcome.code == 1, "\(outcome)")
    #expect(outcome.error.contains("did not report ready within 0.2 seconds (TM504)"), "\(outcome)")
    #expect(try await Program.run(["plugin", "try", "-c", config]).code == 2)
  }
}
