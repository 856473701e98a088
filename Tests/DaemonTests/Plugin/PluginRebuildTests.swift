import Books
import Daemon
import Foundation
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

@Suite(.gated) struct `A rebuild of a plugin with effects in the database` {
  static let keys = """
    tables = ["sum"]
    setup = "CREATE TABLE sum (seq bigint PRIMARY KEY, n int NOT NULL CHECK (n >= 0))"
    effects = "database"
    timeout = "10s"
    """

  /// A row for each event. While a rebuild runs, `before` is done first with each page.
  static func inserting(_ before: String = "pass", table: String = "sum") -> String {
    """
    def answer(page, events):
        note("pages", hello["mode"])
        if hello["mode"] == "rebuild":
            \(before)
        return applied(page, sql=[{"text": "INSERT INTO \(table) VALUES ($1, $2)", "values": [e["seq_id"], e["data"].get("n", 1)]} for e in events])
    """
  }

  private func prepared(
    _ answer: String = inserting(), keys: String = keys, events: Int = 300, more: String = ""
  ) async throws -> (TestDatabase, PluginPrograms, Settings, config: String) {
    try await PluginPrograms.prepared(answer, keys: keys, events: events, more: more)
  }

  /// Rows, and their sequences added up.
  private func summary(_ database: TestDatabase) async throws -> String {
    try await database.value("SELECT concat_ws(' ', count(*), sum(seq), sum(n)) FROM sum")
  }

  private static func once(_ count: Int) -> String { "\(count) \(count * (count + 1) / 2) \(count)" }

  @Test(arguments: [RequestedWay.swap, .copy])
  func `brings the same rows, takes stale ones away, and loses and repeats nothing that comes meanwhile`(
    way: RequestedWay
  ) async throws {
    let (database, programs, settings, _) = try await prepared()
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.script(
        "UPDATE sum SET n = 7 WHERE seq < 10; DELETE FROM sum WHERE seq = 20; INSERT INTO sum VALUES (100000, 1)")
      let writing = Task { for _ in 0..<40 { try await database.append(type: "x", count: 5) } }
      var request = RebuildTable.Request()
      request.way = way
      for _ in 0..<2 {
        let row = try await database.rebuild(settings, "Plug", request, byNode: true)
        #expect(row.state == .done && row.chosenWay == way && row.error == nil, "\(row)")
      }
      _ = try await writing.value
      try await daemon.caughtUp()
      #expect(try await summary(database) == Self.once(500))
      let troubled = daemon.observed.all.filter {
        [.shardPaused, .shardRetrying, .shardStopped, .rebuildFailed, .deadLetter].contains($0.fact)
      }
      #expect(troubled.isEmpty, "\(troubled)")
      #expect(try await database.leftovers() == 0)
      // A stop does not wait for a plugin that has not said its first word.
      try await database.append(type: "x", count: 1)
      try await daemon.caughtUp()
    }
    // Each rebuild has a child of its own, from the first event; the live one is another after each exchange.
    let modes = try programs.modes()
    #expect(modes.count { $0 == "rebuild" } == 2 && modes.count { $0 == "continuous" } >= 3, "\(modes)")
    #expect(try programs.hellos().allSatisfy { $0.mode == "continuous" || $0.position == 0 })
    #expect(programs.lines("ended").count == modes.count)
  }

  @Test(arguments: [
    ("INSERT INTO public.sum VALUES (100000, 1)", "writes public.sum"),
    // These fail as they would for one event that is bad.
    ("INSERT INTO public.sum VALUES (1, 1)", "writes public.sum"),
    ("INSERT INTO public.sum SELECT 100000, 1 / (count(*) - count(*))::int FROM batch", "writes public.sum"),
    ("TRUNCATE public.sum", "writes public.sum"),
    ("DO $$ BEGIN DROP TABLE public.sum; END $$", "writes one of the old tables, by dropping it"),
    ("DROP TABLE IF EXISTS other", "DROP may remove other tables"),
    ("CREATE TABLE IF NOT EXISTS other AS SELECT 1 AS n", "writes tidemark_rebuild_"),
    ("ALTER TABLE public.sum ADD COLUMN more text", "writes public.sum"),
    ("DELETE FROM sum USING public.sum AS old WHERE old.seq = sum.seq", "reads public.sum"),
    ("INSERT INTO other VALUES (1)", "writes public.other"),
    ("INSERT INTO parts VALUES (1)", "writes public.part"),
    ("SELECT set_config('search_path', 'public', true)", "writes public.sum"),
    ("SELECT setval('public.numbers', 1)", "writes public.numbers"),
  ])
  func `is refused at the page that goes past the new tables, and the live side is as it was`(
    statement: String, words: String
  ) async throws {
    let answer = """
      def answer(page, events):
          sql = [{"text": "INSERT INTO sum VALUES ($1, 1)", "values": [e["seq_id"]]} for e in events]
          if hello["mode"] == "rebuild":
              sql.insert(0, {"text": "\(statement)", "values": []})
          return applied(page, sql=sql)
      """
    let lenient = "[rebuild_errors]\nskip_apply_errors = true\nskip_serialization_errors = true\n"
    let (database, _, settings, config) = try await prepared(answer, more: lenient)
    try await database.script(
      """
      CREATE TABLE other (n bigint); CREATE SEQUENCE numbers OWNED BY sum.n;
      CREATE TABLE parts (n bigint) PARTITION BY RANGE (n); CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10)
      """)
    try await database.follow(settings)
    let refused = try await Program.run(["rebuild", "Plug", "--here", "-c", config])
    #expect(
      refused.code == 1 && refused.error.contains(statement.hasPrefix("DROP") ? "TM328" : "TM322")
        && refused.error.contains(words)
        && refused.error.contains(", which a rebuild"),
      "\(refused)")
    #expect(refused.error.contains("--in-place") && refused.error.contains("without their schema"), "\(refused)")
    #expect(try await summary(database) == Self.once(300))
    #expect(try await database.value("SELECT count(*) FROM other", as: Int.self) == 0)
    try await database.append(type: "x", count: 10)
    try await database.follow(settings)
    #expect(try await summary(database) == Self.once(310))
    let ended = try await Program.run(["rebuild", "Plug", "--abort", "-c", config])
    #expect(ended.code == 0, "\(ended)")
    #expect(try await database.leftovers() == 0)
  }

  @Test func `in place does for a plugin that names tables with their schema`() async throws {
    let (database, programs, settings, config) = try await prepared(Self.inserting(table: "public.sum"))
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.script("UPDATE sum SET n = 7; INSERT INTO sum VALUES (100000, 1)")
      var request = RebuildTable.Request()
      request.way = .inPlace
      #expect(try await database.rebuild(settings, "Plug", request, byNode: true).state == .done)
      let took = try await daemon.observed.first("it is told how long that took") { observation -> Duration? in
        if observation.fact == .rebuildExchanged, observation[.way] == .inPlace, let took = observation[.took] {
          took
        } else {
          nil
        }
      }
      #expect(took > .zero)
      try await database.append(type: "x", count: 10)
      try await daemon.caughtUp()
      #expect(try await summary(database) == Self.once(310))
      #expect(try programs.modes() == ["continuous", "rebuild", "continuous"])
    }
    let unasked = try await Program.run(["rebuild", "Plug", "--here", "--in-place", "-c", config])
    #expect(unasked.code == 2 && unasked.error.contains("readers see missing and stale rows"), "\(unasked)")
  }

  @Test func `in place goes on after its node was killed, before the live shard does`() async throws {
    let (database, programs, settings, config) = try await prepared(Self.inserting("time.sleep(0.2)"), events: 20_000)
    try await database.follow(settings)
    let daemon = try await DaemonProcess.start(config)
    try await database.hasNode()
    let watching = Task { try await Program.run(["rebuild", "Plug", "--in-place", "--yes", "-c", config]) }
    try await eventually("some pages of it") {
      try await database.value(
        "SELECT coalesce((SELECT position FROM tidemark.rebuild), 0) >= 0 AND count(*) BETWEEN 1 AND 19999 FROM sum")
    }
    daemon.send(SIGKILL)
    _ = try await daemon.outcome()
    let pages = programs.lines("pages").count { $0 == "continuous" }
    let next = try await database.startBehindRebuild(of: "Plug:All", config)
    #expect(try await watching.value.code == 0)
    #expect(programs.lines("pages").count { $0 == "continuous" } == pages, "the live shard took pages of the rebuild")
    try await database.append(type: "x", count: 10)
    #expect(try await Program.run(["wait", "-c", config]).code == 0)
    _ = try await next.stop()
    #expect(try await summary(database) == Self.once(20_010))
  }

  @Test func `compares, goes on from there, and ends at a sequence, as any other`() async throws {
    let (database, programs, settings, config) = try await prepared()
    try await database.follow(settings)
    try await database.script("UPDATE sum SET n = 7 WHERE seq = 3")
    let looked = try await Program.run(["rebuild", "Plug", "--here", "--diff", "--dry-run", "-c", config])
    #expect(looked.code == 0 && looked.output.contains("0 only in the new, 1 changed"), "\(looked)")
    #expect(try await summary(database) == "300 45150 306")
    try await database.append(type: "x", count: 10)
    try await database.follow(settings)
    let done = try await Program.run(["rebuild", "Plug", "--here", "-c", config])
    #expect(done.code == 0 && done.output.contains("rebuilt up to 310"), "\(done)")
    #expect(try await summary(database) == Self.once(310))
    #expect(try programs.hellos().last! == ("rebuild", 300))
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.script("UPDATE sum SET n = 7 WHERE seq > 200")
      var request = RebuildTable.Request()
      request.upTo = 120
      let row = try await database.rebuild(settings, "Plug", request, byNode: true)
      #expect(row.state == .done && row.position == 120, "\(row)")
      try await daemon.caughtUp()
      #expect(try await summary(database) == Self.once(310))
      #expect(try programs.hellos().last! == ("continuous", 120))
    }
  }

  @Test func `is refused without tables, and with what does not go with a plugin`() async throws {
    let (database, _, settings, config) = try await prepared()
    try await database.follow(settings)
    for arguments in [["--workers", "2"], ["--stream", "x"], ["--tenant", "x"]] {
      let refused = try await Program.run(["rebuild", "Plug", "--here", "-c", config] + arguments)
      #expect(refused.code == 1 && refused.error.contains("TM333") && refused.error.contains("Omit --workers"))
    }
    let bare = try Program.settings(
      database.conninfo,
      "[projections.Plug]\nexec = [\"\(settings.projections[0].plugin!.programName)\"]\neffects = \"database\"\n")
    let refused = try await Program.run(["rebuild", "Plug", "--here", "-c", bare])
    #expect(
      refused.code == 1 && refused.error.contains("TM321") && refused.error.contains("tables = ["), "\(refused)")
    let checked = try await Program.run(["check", "-c", bare])
    #expect(
      checked.code == 0
        && checked.output.contains("Plug:All cannot be rebuilt: it declares no tables"), "\(checked)")
    #expect(try await summary(database) == Self.once(300))
  }

  @Test func `stops at a poison event and leaves the old rows, and passes it over where it may`() async throws {
    let answer =
      Self.inserting() + "\n" + """
        inner = answer
        def answer(page, events):
            for e in events:
                if hello["mode"] == "rebuild" and e["seq_id"] == 40: return failed(e, message="no such customer")
            return inner(page, events)
        """
    let (database, _, settings, config) = try await prepared(answer)
    try await database.follow(settings)
    try await database.script("UPDATE sum SET n = 7")
    let stopped = try await Program.run(["rebuild", "Plug", "--here", "-c", config])
    #expect(
      stopped.code == 1 && stopped.error.contains("event 40: no such customer") && stopped.error.contains("TM328"),
      "\(stopped)")
    #expect(stopped.error.contains("rebuild_errors.skip_apply_errors = true"), "\(stopped)")
    #expect(try await summary(database) == "300 45150 2100")
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
    // What came before it is done, and the policy may say otherwise.
    #expect(try await database.value("SELECT position FROM tidemark.rebuild_worker", as: Int.self) == 39)
    let plugin = settings.projections[0].plugin!.programName
    let lenient = try await database.install(
      "[rebuild_errors]\nskip_apply_errors = true\n[projections.Plug]\nexec = [\"\(plugin)\"]\n\(Self.keys)")
    var request = RebuildTable.Request()
    request.allowsFewer = true
    #expect(try await database.rebuild(lenient, "Plug", request).state == .done)
    #expect(try await summary(database) == "299 45110 299")
    #expect(
      try await database.value("SELECT string_agg(shard || ' ' || seq_id, ', ') FROM tidemark.dead_letter")
        == "Plug:All 40")
  }

  @Test func `stops at the event on which the plugin crashes, and names it`() async throws {
    let answer =
      Self.inserting() + """

        inner = answer
        def answer(page, events):
            if hello["mode"] == "rebuild" and any(e["seq_id"] == 40 for e in events): os.abort()
            return inner(page, events)
        """
    let (database, _, settings, config) = try await prepared(
      answer, more: "[[on_error]]\nclass = \"transient\"\ndo = [\"retry 20ms\", \"pause 200ms\"]\n")
    try await database.follow(settings)
    let stopped = try await Program.run(["rebuild", "Plug", "--here", "-c", config])
    #expect(
      stopped.code == 1 && stopped.error.contains("event 40: the plugin was killed by signal 6")
        && stopped.error.contains("TM328"), "\(stopped)")
    #expect(try await summary(database) == Self.once(300))
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
  }

  @Test func `by a plugin that ends, or says nothing, is tried again while the live shard goes on`() async throws {
    for before in ["os.abort()", "time.sleep(60)"] {
      let (database, _, settings, config) = try await prepared(
        Self.inserting(before), keys: Self.keys.replacing("10s", with: "500ms"))
      try await withDaemon(settings) { daemon in
        try await daemon.caughtUp()
        let asked = Task { try await database.rebuild(settings, "Plug", byNode: true) }
        _ = try await daemon.observed.first("it is tried again") { observation -> Int? in
          guard observation.fact == .rebuildRetrying, let failure = observation.failure,
            let attempt = observation[.attempt], attempt > 1,
            failure.code?.text == "TM502" || failure.code?.text == "TM504"
          else { return nil }
          return attempt
        }
        try await database.append(type: "x", count: 10)
        try await daemon.caughtUp()
        #expect(try await summary(database) == Self.once(310))
        let status = try await Program.run(["status", "-c", config])
        #expect(status.output.contains("rebuild of Plug:All: replaying, 0 of 300: the plugin "), "\(status)")
        let ended = try await Program.run(["rebuild", "Plug", "--abort", "-c", config])
        #expect(ended.code == 0, "\(ended)")
        #expect(try await asked.value.state == .aborted)
        #expect(try await summary(database) == Self.once(310))
        #expect(try await database.leftovers() == 0)
        #expect(!daemon.observed.all.contains { $0.fact == .shardHalted })
        // An operator's own word is nothing to wake anybody for.
        let ends = daemon.observed.all.map(\.fact).filter { [.rebuildAborted, .rebuildFailed].contains($0) }
        #expect(ends == [.rebuildAborted])
      }
    }
  }

  /// The last pages are applied while the live shard waits; one that fails then must not make it wait for the next try.
  @Test func `lets the live shard go on when the plugin falls silent at the very end`() async throws {
    let (database, programs, settings, _) = try await prepared(
      Self.inserting(
        "while events[-1][\"seq_id\"] > 300 and not os.path.exists(directory + \"/mended\"): time.sleep(0.01)"),
      keys: Self.keys.replacing("10s", with: "500ms"))
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      var look = RebuildTable.Request()
      look.compares = true
      look.exchanges = false
      #expect(try await database.rebuild(settings, "Plug", look, byNode: true).state == .compared)
      try await database.append(type: "x", count: 3)
      try await daemon.caughtUp()
      let asked = Task { try await database.rebuild(settings, "Plug", byNode: true) }
      _ = try await daemon.observed.first("it is tried again outside the closing") { observation -> Int? in
        guard observation.fact == .rebuildRetrying, let attempt = observation[.attempt], attempt > 1 else { return nil }
        return attempt
      }
      try await database.append(type: "x", count: 3)
      try await daemon.caughtUp(within: .seconds(20))
      #expect(try await summary(database) == Self.once(306))
      _ = try programs.program("", name: "mended")
      #expect(try await asked.value.state == .done)
      try await database.append(type: "x", count: 3)
      try await daemon.caughtUp()
      #expect(try await summary(database) == Self.once(309))
    }
  }

  @Test func `goes on where it was after its node was killed, with the old rows serving meanwhile`() async throws {
    let (database, programs, settings, config) = try await prepared(Self.inserting("time.sleep(0.2)"), events: 20_000)
    try await database.follow(settings)
    try await database.script("UPDATE sum SET n = 7 WHERE seq = 1")
    let daemon = try await DaemonProcess.start(config)
    try await database.hasNode()
    let watching = Task { try await Program.run(["rebuild", "Plug", "-c", config]) }
    try await eventually("some pages") {
      try await database.value("SELECT coalesce((SELECT position FROM tidemark.rebuild_worker), 0) > 1000")
    }
    daemon.send(SIGKILL)
    _ = try await daemon.outcome()
    #expect(try await database.value("SELECT n FROM sum WHERE seq = 1", as: Int.self) == 7)
    let next = try await DaemonProcess.start(config)
    let told = try await watching.value
    #expect(told.code == 0 && told.output.contains("rebuilt up to 20,000"), "\(told)")
    try await database.append(type: "x", count: 10)
    #expect(try await Program.run(["wait", "-c", config]).code == 0)
    _ = try await next.stop()
    #expect(try await summary(database) == Self.once(20_010))
    #expect(try await database.leftovers() == 0)
    let rebuilds = try programs.hellos().filter { $0.mode == "rebuild" }
    #expect(rebuilds.count == 2 && rebuilds[0].position == 0 && rebuilds[1].position >= 1_000, "\(rebuilds)")
  }

  @Test func `has an instance of its own of a library`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.install(
      """
      [projections.Lib]
      library = "\(try await library(in: programs))"
      config = "insert mode"
      effects = "database"
      tables = ["seen"]
      setup = "CREATE TABLE seen (seq bigint PRIMARY KEY)"
      """)
    try await database.append(type: "x", count: 3_000)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.script("DELETE FROM seen WHERE seq % 2 = 0; INSERT INTO seen VALUES (100000)")
      let writing = Task { for _ in 0..<20 { try await database.append(type: "x", count: 5) } }
      #expect(try await database.rebuild(settings, "Lib", byNode: true).state == .done)
      _ = try await writing.value
      try await daemon.caughtUp()
      #expect(
        try await database.value("SELECT concat_ws(' ', count(*), sum(seq)) FROM seen") == "3100 \(3_100 * 3_101 / 2)")
      let said = daemon.observed.all.compactMap { $0.when(.pluginSaid)?[.text] }
      let modes = said.filter { $0 != "closed" }
      #expect(
        modes.count { $0 == "rebuild" } == 1 && modes.first == "continuous" && modes.last == "continuous", "\(said)")
    }
  }
}
