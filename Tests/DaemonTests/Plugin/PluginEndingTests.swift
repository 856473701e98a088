import Daemon
import Foundation
import Postgres
import Settings
import Telemetry
import TestSupport
import Testing

/// How a plugin is ended with its shard: it is asked, then made to go, and nothing of it keeps the daemon.
@Suite(.gated) struct `A plugin whose time is over` {
  @Test func `by leaving a grandchild behind takes it along when it ends`() async throws {
    let programs = try await ended(leaving: #""/bin/sh", "-c", "trap '' TERM HUP; while :; do sleep 1; done""#)
    let pid = try #require(pid_t(programs.lines("grandchild").first ?? ""))
    try await eventually("the grandchild is gone") { !Self.lives(pid) }
    #expect(programs.lines("ended") == ["end of input"])
  }

  /// It has left the process group, and keeps the child's streams open.
  @Test(arguments: [#""/usr/bin/setsid", "/bin/sleep", "1000""#, #""/usr/bin/setsid", "/bin/sh", "-c", "sleep 1000""#])
  func `whose child runs away is not waited for, and takes it along`(words: String) async throws {
    let programs = try await ended(leaving: words)
    let pid = try #require(pid_t(programs.lines("grandchild").first ?? ""))
    try await eventually("the grandchild is gone") { !Self.lives(pid) }
  }

  /// What is left of a plugin that had a child of its own, with these words, when its daemon has stopped.
  private func ended(leaving words: String) async throws -> PluginPrograms {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      "def answer(page, events): return applied(page)",
      before: """
        child = subprocess.Popen([\(words)])
        note("grandchild", child.pid)
        """)
    let settings = try await database.installPlugin([plugin])
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 1)
      try await daemon.caughtUp()
    }
    return programs
  }

  /// It goes on after the end of its input; what it is asked by then, it notes.
  @Test(arguments: [true, false])
  func `by ignoring the end of its input is sent SIGTERM, and killed when it ignores that too`(ignores: Bool)
    async throws
  {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events): return applied(page)
      def term(number, frame):
          note("ended", "SIGTERM")
          if \(ignores ? "True" : "False"): return
          signal.signal(signal.SIGTERM, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGTERM)
      """,
      before: "signal.signal(signal.SIGTERM, term); note(\"pid\", os.getpid())")
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
    #expect(programs.lines("ended") == ["end of input", "SIGTERM"])
    let how = observed.all.compactMap { $0.when(.pluginEnded)?[.how] }
    #expect(how == ["was killed by signal \(ignores ? 9 : 15)"])
  }

  @Test func `by never answering does not keep the daemon from stopping`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      "def answer(page, events): note('begun', 1); time.sleep(600); note('answered', 1)",
      before: "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    let settings = try await database.installPlugin([plugin], keys: "timeout = \"10m\"")
    try await database.append(type: "x", count: 1)
    try await withDaemon(settings) { _ in
      try await eventually("it is at work") { programs.lines("begun").count == 1 }
    }
    #expect(programs.lines("answered").isEmpty)
    #expect(try await database.position("Plug:All") == 0)
  }

  private static func lives(_ pid: pid_t) -> Bool {
    guard kill(pid, 0) == 0 else { return false }
    // A process that has ended and is not waited for by its new parent still has a number.
    let state = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8).split(separator: ")").last
    return state?.hasPrefix(" Z") == false
  }
}
