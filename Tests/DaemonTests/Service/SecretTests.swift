import Foundation
import Postgres
import Settings
import Telemetry
import TestSupport
import Testing

/// What `${NAME}` stands for may be secret. The settings are loaded; now others repeat it: the server, libpq, the plugin's host.
@Suite(.gated) struct `A secret from a variable` {
  private static let environment = ["TOKEN": "hunter2", "DB_HOST": "/run/nowhere-hunter2"]

  private func said(_ outcome: Program.Outcome) -> String { outcome.output + outcome.error }

  @Test func `is not in what check, a rebuild and the log say`() async throws {
    let database = try await TestDatabase.make()
    let toml = """
      [projections.Wrong]
      tables = ["wrong"]
      setup = "CREATE TABLE wrong (n int)"
      sql = "INSERT INTO wrong SELECT '${TOKEN}'::int FROM batch"
      [projections.Plug]
      exec = ["/usr/lib/${TOKEN}/mailer", "${TOKEN}"]
      rebuild_external = true
      """
    let config = try Program.settings(database.conninfo, toml)
    _ = try await Program.run(["init", "-c", config], environment: Self.environment)
    let checked = try await Program.run(["check", "-c", config], environment: Self.environment)
    #expect(checked.code == 1 && checked.error.contains("/usr/lib/${TOKEN}/mailer cannot be run"), "\(checked)")
    #expect(checked.error.contains("\"${TOKEN}\""), "\(checked)")
    try await database.append(type: "x", count: 1)
    let daemon = try await DaemonProcess.start(config, environment: Self.environment)
    try await eventually("both have failed") {
      try await database.value(
        "SELECT count(*) = 2 FROM tidemark.shard WHERE reason LIKE '%${TOKEN}%' OR name = 'Wrong:All' AND EXISTS (SELECT FROM tidemark.dead_letter WHERE message LIKE '%${TOKEN}%')",
        as: Bool.self)
    }
    let status = try await Program.run(["status", "-c", config], environment: Self.environment)
    #expect(status.output.contains("/usr/lib/${TOKEN}/mailer"), "\(status)")
    let asked = try await Program.run(["rebuild", "Plug", "-c", config], environment: Self.environment)
    #expect(asked.error.contains("/usr/lib/${TOKEN}/mailer will be handed every event"), "\(asked)")
    let kept = try await database.value(
      "SELECT concat((SELECT string_agg(message || coalesce(detail, ''), ' ') FROM tidemark.dead_letter), (SELECT string_agg(reason, ' ') FROM tidemark.shard))",
      as: String.self)
    #expect(kept.contains("${TOKEN}") && !kept.contains("hunter2"), "\(kept)")
    let log = try await daemon.stop()
    for text in [said(checked), said(status), said(asked), said(log)] { #expect(!text.contains("hunter2"), "\(text)") }
  }

  @Test func `is not in what is said of a server that is away`() async throws {
    let config = try Program.file("[database]\nurl = \"host=${DB_HOST} user=app\"\n")
    let status = try await Program.run(["status", "-c", config], environment: Self.environment)
    #expect(status.code == 3 && status.error.contains("host=${DB_HOST}"), "\(status)")
    #expect(!said(status).contains("hunter2"), "\(status)")
    let daemon = try await DaemonProcess.start(config, environment: Self.environment)
    try await daemon.holdsSignals()
    let log = try await daemon.stop()
    #expect(!said(log).contains("hunter2"), "\(log)")
  }

  /// Another key is no other work: nothing asks for a rebuild.
  @Test func `may be rotated without a changed definition`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      "def answer(page, events):\n    note('seen', sys.argv[1])\n    return applied(page)")
    let toml = "[projections.Plug]\nexec = [\"\(plugin)\", \"${TOKEN}\"]\n"
    let config = try Program.settings(database.conninfo, toml)
    _ = try await Program.run(["init", "-c", config], environment: Self.environment)
    var logs = ""
    for (count, token) in [(1, "first-secret"), (2, "second-secret")] {
      try await database.append(type: "x", count: 1)
      let daemon = try await DaemonProcess.start(config, environment: ["TOKEN": token])
      try await eventually("its page") { programs.lines("seen").count == count }
      logs += try await daemon.stop().error
    }
    #expect(programs.lines("seen") == ["first-secret", "second-secret"])
    #expect(!logs.contains("statements changed after") && !logs.contains("tidemark rebuild"), "\(logs)")
  }
}
