import Books
import Daemon
import Foundation
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

extension TestDatabase {
  fileprivate func installLibrary(_ path: String, config: String, keys: String = "") async throws -> Settings {
    try await install(
      "[projections.Plug]\nlibrary = \"\(path)\"\nconfig = \"\(config)\"\n\(keys)\n"
        + "[[on_error]]\nclass = \"transient\"\ndo = [\"retry 20ms\", \"pause 100ms\"]\n")
  }
}

extension ObservationRecorder {
  /// What the shard was told the first time it failed.
  fileprivate func failure() async throws -> Problem {
    try await first("a failure") { $0.when(.pageNarrowed, .shardRetrying, .shardPaused, .shardStopped)?.failure }
  }
}

@Suite(.gated) struct `A library plugin` {
  @Test func `in C sees every event with its fields, once and in order`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let path = try await library(in: programs)
    let settings = try await database.installLibrary(path, config: "seen=\(programs.path("seen"))")
    try await database.append(data: (1...2_500).map { "{\"n\": \($0)}" })
    let observed = try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      return daemon.observed
    }
    #expect(programs.lines("seen") == (1...2_500).map { "\($0) x {\"n\": \($0)}" })
    #expect(try await database.position("Plug:All") == 2_500)
    let said = observed.all.compactMap { $0.when(.pluginSaid)?[.text] }
    #expect(said == ["opened", "closed"])
  }

  @Test func `makes dead letters, also of a failure without words`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installLibrary(
      try await library(in: programs), config: "seen=\(programs.path("seen"))")
    try await database.append(data: ["{}", #"{"bad": 1}"#, "{}", #"{"null-message": 1}"#, "{}"])
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    #expect(programs.lines("seen").map { $0.prefix(1) } == ["1", "3", "5"])
    let letters = try await database.value(
      "SELECT string_agg(concat_ws(' ', seq_id, class, message), ', ' ORDER BY seq_id) FROM tidemark.dead_letter",
      as: String.self)
    #expect(letters == "2 event bad data, 4 event the plugin gave no reason")
  }

  @Test(arguments: [
    ("wrong-code", "TM507", "the plugin returned 77 from apply"),
    ("silent-failure", "TM507", "the plugin returned a failure without reporting which event failed"),
    ("wrong-event", "TM507", "which is not in its page"),
    ("both", "TM507", "the plugin reported a failed event, then returned that all events are applied"),
  ])
  func `that answers wrongly moves no position, and is asked again`(config: String, code: String, words: String)
    async throws
  {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installLibrary(
      try await library(in: programs), config: "\(config) seen=\(programs.path("seen"))")
    try await database.append(type: "x", count: 3)
    try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.failure()
      #expect(failure.code?.text == code && failure.message.contains(words), "\(failure)")
      try await daemon.caughtUp()
      #expect(programs.lines("seen").map { $0.prefix(1) } == ["1", "2", "3"])
      #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
    }
  }

  @Test(arguments: [("nonsense", "TM507"), ("slumber", "TM504")])
  func `that cannot cope with one event has a dead letter of it, and applies the others`(word: String, code: String)
    async throws
  {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installLibrary(
      try await library(in: programs), config: "seen=\(programs.path("seen"))", keys: "timeout = \"400ms\"")
    try await database.append(data: (1...12).map { $0 == 7 ? "{\"\(word)\": 1}" : "{}" })
    try await withDaemon(settings) { daemon in try await daemon.caughtUp(within: .seconds(60)) }
    let letters = try await database.value(
      "SELECT string_agg(concat_ws(' ', seq_id, class, sqlstate), ', ') FROM tidemark.dead_letter", as: String?.self)
    #expect(letters == "7 event \(code)")
    #expect(Set(programs.lines("seen").map { $0.split(separator: " ")[0] }).subtracting(["7"]).count == 11)
  }

  @Test func `that answers late is not listened to, and is handed the page again when it is back`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installLibrary(
      try await library(in: programs), config: "slow seen=\(programs.path("seen"))", keys: "timeout = \"300ms\"")
    try await database.append(type: "x", count: 3)
    try await withDaemon(settings) { daemon in
      #expect(try await daemon.observed.failure().code?.text == "TM504")
      #expect(try await database.position("Plug:All") == 0)
      try await daemon.caughtUp()
      // Once late, once in time.
      #expect(programs.lines("seen").map { $0.prefix(1) } == ["1", "2", "3", "1", "2", "3"])
    }
  }

  @Test func `that never returns holds up nobody, and the daemon stops`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installLibrary(
      try await library(in: programs), config: "stuck",
      keys: """
        timeout = "300ms"
        [projections.Other]
        tables = ["other"]
        setup = "CREATE TABLE other (seq bigint)"
        sql = "INSERT INTO other SELECT seq_id FROM batch"
        """)
    try await database.append(type: "x", count: 3)
    try await withDaemon(settings) { daemon in
      #expect(try await daemon.observed.failure().code?.text == "TM504")
      try await daemon.caughtUp(["Other:All"])
    }
    #expect(try await database.position("Plug:All") == 0)
  }

  @Test func `whose thread speaks of one page during the next is heard in the log and nowhere else`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installLibrary(
      try await library(in: programs), config: "late-host seen=\(programs.path("seen"))",
      keys: """
        effects = "database"
        tables = ["late"]
        setup = "CREATE TABLE late (n int)"
        """)
    let observed = try await withDaemon(settings) { daemon in
      for _ in 1...3 {
        try await database.append(type: "x", count: 1)
        try await daemon.caughtUp()
      }
      return daemon.observed
    }
    let said = observed.all.compactMap { $0.when(.pluginSaid)?[.text] }
    #expect(said == ["opened", "late word", "late word", "closed"])
    #expect(programs.lines("seen").map { $0.prefix(1) } == ["1", "2", "3"])
    #expect(try await database.value("SELECT count(*) FROM late", as: Int.self) == 0)
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
  }

  @Test func `that says much at once has it cut`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installLibrary(try await library(in: programs), config: "long-log")
    let observed = try await withDaemon(settings) { daemon in
      _ = try await daemon.observed.first("it is open") { $0.when(.pluginStarted) }
      return daemon.observed
    }
    let said = observed.all.compactMap {
      if $0.fact == .pluginSaid, $0.level == .info, let text = $0[.text] { text.count } else { nil }
    }
    #expect(said == [2_000, 2_000, 1_000])
  }

  @Test func `that opens when nobody waits for it any more is closed`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installLibrary(
      try await library(in: programs), config: "late-open", keys: "timeout = \"100ms\"")
    let observed = try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.failure()
      #expect(failure.code?.text == "TM504", "\(failure)")
      return daemon.observed
    }
    try await eventually("it is closed") {
      observed.all.compactMap { $0.when(.pluginSaid)?[.text] } == [
        "opened", "closed",
      ]
    }
  }

  @Test func `that does not return when its shard is stopped is another instance when that goes on`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installLibrary(
      try await library(in: programs), config: "away", keys: "timeout = \"200ms\"")
    try await database.append(type: "x", count: 3)
    let observed = try await withDaemon(settings) { daemon in
      #expect(try await daemon.observed.failure().code?.text == "TM504")
      for kind: OperatorRequest.Kind in [.stop, .run] {
        try await database.connected { session in
          try await ShardRequests().write(kind, for: nil, shards: ["Plug:All"], by: "test", session)
        }
        _ = try await daemon.observed.first("it waits") { $0.when(.shardHalted) }
      }
      // The second of them is away at first, too.
      try await eventually("another is open") {
        daemon.observed.all.count { $0.fact == .pluginStarted } == 2
      }
      return daemon.observed
    }
    try await eventually("it is closed") {
      observed.all.compactMap { $0.when(.pluginSaid)?[.text] }
        == ["opened", "closed", "opened", "closed"]
    }
    let ends = observed.all.compactMap { $0.when(.pluginEnded)?[.how] }
    #expect(ends.first == "has not returned from close; it is closed once it returns")
  }

  @Test(arguments: [
    (["-DABI=2"], "TM509", "was built for version 2 of the plugin interface; this daemon has version 1"),
    (["-DNOTHING"], "TM509", "tidemark_plugin_main returned nothing"),
    (["-DNO_MAIN"], "TM509", "has no function tidemark_plugin_main"),
    (["-DWITHOUT_APPLY"], "TM509", "its table lacks open, apply or close"),
  ])
  func `that does not fit stops its shard and says why`(flags: [String], code: String, words: String) async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installLibrary(try await library(flags, in: programs), config: "x")
    try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.failure()
      #expect(failure.code?.text == code && failure.message.contains(words), "\(failure)")
    }
  }

  @Test(arguments: [
    ("refuse", "TM508", "the plugin refuses to run: no licence"),
    ("open-wrong", "TM507", "the plugin returned 99 from open"),
  ])
  func `that does not open is told with its reason`(config: String, code: String, words: String) async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let settings = try await database.installLibrary(try await library(in: programs), config: config)
    try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.failure()
      #expect(failure.code?.text == code && failure.message == words, "\(failure)")
    }
  }

  @Test func `that is missing, or no library, is told so`() async throws {
    for (text, code) in [(nil, "TM501"), ("hello", "TM509")] {
      let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
      if let text { _ = try programs.program(text, name: "libx.so") }
      let settings = try await database.installLibrary(programs.path("libx.so"), config: "x")
      try await withDaemon(settings) { daemon async throws in
        #expect(try await daemon.observed.failure().code?.text == code)
      }
    }
  }

  @Test func `in Swift answers with statements that are applied with the position`() async throws {
    let database = try await TestDatabase.make()
    let path = URL(filePath: Program.path).deletingLastPathComponent().appending(path: "libSwiftTestPlugin.so").path
    let settings = try await database.installLibrary(
      path, config: "from here",
      keys: """
        effects = "database"
        tables = ["copied"]
        setup = "CREATE TABLE copied (seq bigint PRIMARY KEY, stream uuid, type text, tenant text, data jsonb, at timestamptz)"
        """)
    try await database.append(data: (1...500).map { [77, 400].contains($0) ? #"{"bad": 1}"# : "{\"n\": \"ü\($0)\"}" })
    let observed = try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      return daemon.observed
    }
    #expect(
      try await database.value(
        """
        SELECT count(*) FROM copied AS c JOIN mt_events AS e
            ON (c.seq, c.stream, c.type, c.tenant, c.data, c.at) = (e.seq_id, e.stream_id, e.type, e.tenant_id, e.data, e."timestamp")
        """, as: Int.self) == 498)
    #expect(
      try await database.value(
        "SELECT array_agg(seq_id ORDER BY seq_id)::text FROM tidemark.dead_letter", as: String.self)
        == "{77,400}")
    let said = observed.all.compactMap {
      if $0.fact == .pluginSaid, $0.level == .notice, let text = $0[.text] { text } else { nil }
    }
    #expect(said == ["opened for Plug:All at 0 in continuous mode with from here", "closed"])
  }
}
