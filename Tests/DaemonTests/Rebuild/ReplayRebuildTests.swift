import Books
import Daemon
import Foundation
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

@Suite(.gated) struct `A rebuild of a plugin with effects outside` {
  /// Notes each event with the mode it came in. While a rebuild runs, `before` is done first with each page.
  private static func noting(_ before: String = "pass") -> String {
    """
    def answer(page, events):
        if hello["mode"] == "rebuild":
            \(before)
        for event in events: note("seen", hello["mode"] + " %d" % event["seq_id"])
        return applied(page)
    """
  }

  private static func seen(_ mode: String, _ sequences: ClosedRange<Int>) -> [String] {
    sequences.map { "\(mode) \($0)" }
  }

  private func prepared(
    _ answer: String = noting(), keys: String = "rebuild_external = true", events: Int = 200, more: String = ""
  ) async throws -> (TestDatabase, PluginPrograms, Settings, config: String) {
    try await PluginPrograms.prepared(answer, keys: keys, events: events, more: more)
  }

  @Test func `hands over every event again, while the live shard waits with those that come meanwhile`() async throws {
    let (database, programs, settings, _) = try await prepared(Self.noting("time.sleep(0.5)"))
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let rebuilding = Task { try await database.rebuild(settings, "Plug", byNode: true) }
      try await eventually("its own plugin is greeted") { programs.lines("hello").count == 2 }
      try await database.append(type: "x", count: 20)
      let row = try await rebuilding.value
      #expect(row.state == .done && row.position == 200 && row.chosenWay == .replay, "\(row)")
      try await daemon.caughtUp()
    }
    #expect(
      programs.lines("seen")
        == Self.seen("continuous", 1...200) + Self.seen("rebuild", 1...200) + Self.seen("continuous", 201...220))
    #expect(
      try programs.hellos().map { "\($0.mode) \($0.position)" } == ["continuous 0", "rebuild 0", "continuous 200"])
    #expect(try await database.position("Plug:All") == 220)
    #expect(try await database.leftovers() == 0)
  }

  @Test func `is refused where it was not allowed, left out of --all, and asked back for where it was`() async throws {
    let (database, programs, settings, _) = try await prepared(
      keys: "",
      more: """
        [projections.Count]
        tables = ["counts"]
        setup = "CREATE TABLE counts (seq bigint)"
        sql = "INSERT INTO counts SELECT seq_id FROM batch"
        """)
    try await database.follow(settings)
    let plugin = settings.projections.first { $0.name == "Plug" }!.plugin!.programName
    let strict = try Program.settings(
      database.conninfo,
      """
      [projections.Plug]
      exec = ["\(plugin)"]
      [projections.Count]
      tables = ["counts"]
      sql = "INSERT INTO counts SELECT seq_id FROM batch"
      """)
    let named = try await Program.run(["rebuild", "Plug", "--here", "--yes", "-c", strict])
    #expect(named.code == 1 && named.error.contains("TM333"), "\(named)")
    #expect(named.error.contains("rebuild_external = true"), "\(named)")
    let all = try await Program.run(["rebuild", "--all", "--here", "-c", strict])
    #expect(all.code == 0 && all.output.contains("Count:All: rebuilt up to 200"), "\(all)")
    #expect(all.error.contains("Plug:All skipped:") && all.error.contains("rebuild_external is not set"), "\(all)")
    let checked = try await Program.run(["check", "-c", strict])
    #expect(checked.code == 0 && checked.output.contains("note: Plug:All cannot be rebuilt: "), "\(checked)")

    let config = try Program.settings(
      database.conninfo, "[projections.Plug]\nexec = [\"\(plugin)\"]\nrebuild_external = true\n")
    let unasked = try await Program.run(["rebuild", "Plug", "--here", "-c", config])
    #expect(unasked.code == 2 && unasked.error.contains("needs --yes"), "\(unasked)")
    #expect(unasked.error.contains("\(plugin) will be handed every event again"), "\(unasked)")
    for arguments in [["--in-place"], ["--by", "copy"], ["--diff"], ["--to", "5"]] {
      let refused = try await Program.run(["rebuild", "Plug", "--here", "--yes", "-c", config] + arguments)
      #expect(refused.code == 1 && refused.error.contains("TM333"), "\(refused)")
      #expect(refused.error.contains("Omit --by, --in-place, --diff and --to"), "\(refused)")
    }
    #expect(programs.lines("seen") == Self.seen("continuous", 1...200))
    #expect(try programs.modes() == ["continuous"])
    let done = try await Program.run(["rebuild", "Plug", "--here", "--yes", "-c", config])
    #expect(
      done.code == 0 && done.output.contains("Plug:All: every event up to 200 was handed to the plugin again"),
      "\(done)")
    #expect(programs.lines("seen") == Self.seen("continuous", 1...200) + Self.seen("rebuild", 1...200))
  }

  @Test func `goes on where it was after its node was killed, before the live shard does`() async throws {
    let (database, programs, settings, config) = try await prepared(Self.noting("time.sleep(0.1)"), events: 20_000)
    try await database.follow(settings)
    let daemon = try await DaemonProcess.start(config)
    try await database.hasNode()
    let watching = Task { try await Program.run(["rebuild", "Plug", "--yes", "-c", config]) }
    try await eventually("some pages") {
      try await database.value("SELECT coalesce((SELECT position FROM tidemark.rebuild_worker), 0) > 1000")
    }
    daemon.send(SIGKILL)
    _ = try await daemon.outcome()
    try await database.append(type: "x", count: 10)
    let next = try await database.startBehindRebuild(of: "Plug:All", config)
    let told = try await watching.value
    #expect(told.code == 0 && told.output.contains("every event up to 20,000"), "\(told)")
    #expect(try await Program.run(["wait", "-c", config]).code == 0)
    _ = try await next.stop()
    // In order; where the one that was killed had a page in hand, that page came again.
    let seen = programs.lines("seen")
    let again = seen.filter { $0.hasPrefix("rebuild") }.compactMap { Int($0.dropFirst(8)) }
    #expect(seen.filter { $0.hasPrefix("continuous") } == Self.seen("continuous", 1...20_010))
    #expect(seen.suffix(10) == Self.seen("continuous", 20_001...20_010)[...])
    #expect(Set(again) == Set(1...20_000))
    #expect(again.count { $0 == 1 } == 1, "it did not begin anew")
    let breaks = zip(again, again.dropFirst()).filter { $1 != $0 + 1 }
    #expect(breaks.allSatisfy { $1 <= $0 + 1 } && breaks.count <= 1, "\(breaks)")
  }

  @Test func `stops at a poison event while the live shard goes on, and is done again, or ended`() async throws {
    let (database, programs, settings, config) = try await prepared(
      """
      def answer(page, events):
          for event in events:
              if hello["mode"] == "rebuild" and event["seq_id"] == 40 and not os.path.exists(directory + "/mended"):
                  return failed(event, message="no such customer")
              note("seen", hello["mode"] + " %d" % event["seq_id"])
          return applied(page)
      """)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let row = try await database.rebuild(settings, "Plug", byNode: true)
      #expect(row.state == .failed && row.error?.contains("event 40: no such customer") == true, "\(row)")
      #expect(row.position == 39 && row.isHalfDone, "\(row)")
      try await database.append(type: "x", count: 10)
      try await daemon.caughtUp()
      let status = try await Program.run(["status", "-c", config])
      #expect(status.output.contains("rebuild of Plug:All: failed, 39 of 200"), "\(status)")
      _ = try programs.program("", name: "mended")
      let done = try await database.rebuild(settings, "Plug", byNode: true)
      #expect(done.state == .done && done.position == 210, "\(done)")
      let resumed = daemon.observed.all.compactMap {
        $0.when(.rebuildStarted)?[.resumed]
      }
      #expect(resumed == [false, true])
    }
    #expect(
      programs.lines("seen")
        == Self.seen("continuous", 1...200) + Self.seen("rebuild", 1...39) + Self.seen("continuous", 201...210)
        + Self.seen("rebuild", 40...210))
    try FileManager.default.removeItem(atPath: programs.path("mended"))
    let stopped = try await Program.run(["rebuild", "Plug", "--here", "--yes", "-c", config])
    #expect(stopped.code == 1 && stopped.error.contains("TM328"), "\(stopped)")
    let ended = try await Program.run(["rebuild", "Plug", "--abort", "-c", config])
    #expect(ended.code == 0 && ended.output.contains("Plug:All aborted"), "\(ended)")
    #expect(try await database.leftovers() == 0)
  }

  @Test func `leaves the dead letters of the replay, and none of before`() async throws {
    let (database, _, settings, _) = try await prepared(
      """
      def answer(page, events):
          for event in events:
              if event["seq_id"] == (7 if hello["mode"] == "rebuild" else 3): return failed(event, message="bad")
          return applied(page)
      """, more: "[rebuild_errors]\nskip_apply_errors = true\n")
    let letters: SQL = "SELECT string_agg(shard || ' ' || seq_id, ', ') FROM tidemark.dead_letter"
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(try await database.value(letters) == "Plug:All 3")
      #expect(try await database.rebuild(settings, "Plug", byNode: true).state == .done)
      #expect(try await database.value(letters) == "Plug:All 7")
    }
  }
}
