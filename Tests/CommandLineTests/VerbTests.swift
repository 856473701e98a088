import Foundation
import Postgres
import Sandbox
import Processes
import TestSupport
import Testing

/// The verbs as an operator meets them: the real program, its output and its exit status.
@Suite(.gated) struct `The program` {
  @Test func `walks from an empty database to a caught-up read model`() async throws {
    let database = try await TestDatabase.make()
    let config = try Program.settings(database.conninfo)
    let dry = try await Program.run(["init", "--dry-run", "-c", config])
    #expect(
      dry.code == 0 && dry.output.hasPrefix("BEGIN;") && dry.output.contains("CREATE TABLE \"public\".mt_events"))
    let unmade = try await Program.run(["check", "-c", config])
    #expect(
      unmade.code == 1
        && unmade.error.contains("there is no event store: table public.mt_events does not exist (TM201)"))
    #expect(unmade.error.contains("tidemark init"))
    let made = try await Program.run(["init", "-c", config])
    #expect(made.code == 0 && made.output.contains("made the tables of projection Trip"))
    #expect(try await Program.run(["init", "-c", config]).output == "nothing to do: everything exists\n")
    let checked = try await Program.run(["check", "-c", config])
    #expect(checked.code == 0 && checked.output.hasPrefix("ok: 3 projections"), "\(checked)")
    let listed = try await Program.run(["list", "--json"], environment: ["TIDEMARK_CONFIG": config])
    #expect(listed.code == 0 && listed.output.contains("\"shard\" : \"Trip:All\""))

    try await database.append(type: "travel", count: 3, data: #"{"Traveled": 1.5, "Day": "2026-01-01"}"#)
    let late = try await Program.run(["wait", "Trip", "--timeout", "50ms", "-c", config])
    #expect(late.code == 4 && late.error.contains("Trip:All at no position, of 3"))

    let daemon = try await DaemonProcess.start(config)
    let waited = try await Program.run(["wait", "-c", config])
    #expect(waited.code == 0)
    let status = try await Program.run(["status", "-c", config])
    #expect(status.code == 0 && status.output.hasPrefix("high-water mark"))
    #expect(status.output.contains("Ledger:All"))
    let report = try await Program.run(["status", "--json", "-c", config])
    #expect(report.output.contains("\"position\" : 3"))
    #expect(try await database.value("SELECT legs FROM day", as: Int.self) == 3)

    let ended = try await daemon.stop()
    #expect(ended.code == 0)
    #expect(ended.error.contains("Shard started") && ended.error.contains("Stopped"), "\(ended.error)")
  }

  @Test func `is killed in the middle of its work and loses and repeats nothing`() async throws {
    let database = try await TestDatabase.make()
    let config = try Program.settings(database.conninfo)
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    let writing = Task { try await database.write(writers: 3, transactions: 250) }
    for round in 0..<4 {
      let daemon = try await DaemonProcess.start(config)
      let target = Int64(150 * (round + 1))
      try await eventually("some pages") {
        (try await database.position("Trip:All") ?? 0) >= target
      }
      daemon.send(SIGKILL)
      _ = try await daemon.outcome()
    }
    _ = try await writing.value
    let daemon = try await DaemonProcess.start(config)
    #expect(try await Program.run(["wait", "-c", config]).code == 0)
    #expect(try await daemon.stop().code == 0)
    #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
  }

  @Test func `reports what PostgreSQL thinks of a statement, with the line in the file`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install("")
    try await database.script("CREATE TABLE t (id uuid, n int)")
    let config = try Program.settings(
      database.conninfo,
      """
      [projections.A]
      sql = '''
      INSERT INTO t (id, n)
      SELECT stream_id,
             nonsense FROM batch
      '''
      [projections.B]
      sql = "INSERT INTO t SELECT stream_id, 1 FROM batch ON CONFLICT (id) DO NOTHING"
      [projections.C]
      on.x = "INSERT INTO missing VALUES (:stream_id)"
      [projections.D]
      on.x = "INSERT INTO t VALUES (:stream_id, :version)"
      [projections.E]
      sql = "SELEC 1"
      """)
    let outcome = try await Program.run(["check", "-c", config])
    #expect(outcome.code == 1)
    let lines = outcome.error.replacing(config, with: "FILE").split(separator: "\n").map(String.init)
    #expect(
      lines == [
        "tidemark: 4 problems found",
        "  FILE:9: projections.A: column \"nonsense\" does not exist (SQLSTATE 42703)",
        "  FILE:12: projections.B: there is no unique or exclusion constraint matching the ON CONFLICT specification (SQLSTATE 42P10)",
        "  FILE:14: projections.C: relation \"missing\" does not exist (SQLSTATE 42P01)",
        "  FILE:18: projections.E: syntax error at or near \"SELEC\" (SQLSTATE 42601)",
      ])
    #expect(try await database.value("SELECT count(*) FROM t", as: Int.self) == 0)
  }

  @Test func `says that batch is the page's events and not the user's own table`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install("")
    // A column that only the view has shows which of them is planned.
    try await database.script("CREATE TABLE batch (seq_id bigint)")
    let config = try Program.settings(database.conninfo, "[projections.A]\nsql = \"SELECT stream_id FROM batch\"")
    let outcome = try await Program.run(["check", "-c", config])
    #expect(
      outcome.code == 0
        && outcome.output.contains("batch means the events of the page, and not your own public.batch")
        && outcome.output.contains("Write public.batch in the statements that mean it."), "\(outcome)")
  }

  @Test func `exits 2 for a wrong file or call, 3 for a server that is not there`() async throws {
    let wrong = try await Program.run(["check", "-c", try Program.file("[databse]\n")])
    #expect(wrong.code == 2)
    #expect(wrong.error.contains("2 problems in the settings") && wrong.error.contains("did you mean \"database\"?"))
    #expect(try await Program.run(["check", "-c", "/nowhere/x.toml"]).code == 2)
    #expect(try await Program.run(["chekc"]).code == 2)
    #expect(
      try await Program.run(["wait", "--timeout", "soon", "-c", try Program.settings("host=/nowhere")]).code == 2)
    #expect(try await Program.run(["wait", "Tripp", "-c", try Program.settings("host=/nowhere")]).code == 2)
    let away = try await Program.run(["status", "-c", try Program.settings("host=/nowhere user=me dbname=shop")])
    #expect(
      away.code == 3 && away.error.contains("cannot reach the database (host=/nowhere port=5432 dbname=shop user=me)")
    )
    #expect(try await Program.run(["--help"]).code == 0)
    #expect(try await Program.run(["--version"]).output == "0.1.0\n")
  }

  @Test func `run exits 1 when only a person can help, and says how`() async throws {
    let database = try await TestDatabase.make()
    let outcome = try await Program.run(["run", "-c", try Program.settings(database.conninfo)])
    #expect(outcome.code == 1)
    #expect(outcome.error.contains("there is no event store") && outcome.error.contains("tidemark init"))
  }

  @Test func `prints the settings in effect without secrets`() async throws {
    let config = try Program.settings("postgresql://me:hush@db/shop")
    let outcome = try await Program.run(["print-config", "-c", config])
    #expect(
      outcome.code == 0 && outcome.output.contains("url = \"postgresql://me:***@db/shop\"")
        && !outcome.output.contains("hush"))
    #expect(try await Program.run(["print-config", "--sample"]).output.contains("gap_grace = \"3s\""))
  }

  @Test func `leaves nothing behind of a demo that is ended before its server runs`() async throws {
    // A busy machine may look away for as long as the cluster is made.
    for _ in 1...10 {
      let demo = try await ProgramProcess.start(["demo", "--seconds", "60"])
      let deadline = ContinuousClock.now + .seconds(20)
      var directory: String?
      while directory == nil, ContinuousClock.now < deadline {
        let lines = children(of: demo.pid).map { pid in
          String(decoding: FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data(), as: UTF8.self)
        }
        directory =
          lines.lazy.compactMap { $0.firstMatch(of: /--pgdata=(\S+)\/data/).map { String($0.output.1) } }.first
        if lines.contains(where: { $0.contains("bin/postgres") && !$0.contains("initdb") }) { break }
        try await Task.sleep(for: .milliseconds(5))
      }
      demo.send(SIGINT)
      let outcome = try await demo.outcome()
      guard let directory else { continue }
      #expect(outcome.status == .exited(1) && outcome.error.contains("interrupted"), "\(outcome)")
      #expect(!FileManager.default.fileExists(atPath: directory))
      return
    }
    Issue.record("no look met a cluster that was being made")
  }

  @Test func `shows a demo whose recount is equal, and leaves nothing behind`() async throws {
    let outcome = try await Program.run(["demo", "--seconds", "3"])
    #expect(outcome.code == 0, "\(outcome.error)")
    #expect(outcome.output.contains("Equal: every event was applied once"))
    let directory = try #require(outcome.output.firstMatch(of: /host=([^ ]+)/)?.output.1)
    #expect(!FileManager.default.fileExists(atPath: String(directory)))
  }
}
