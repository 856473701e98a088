import Foundation
import Postgres
import Sandbox
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

/// `start = "inline-handover"`: a projection that takes over from the application, which has to have ended.
@Suite(.gated) struct `A projection that takes over from the application` {
  private static let toml = """
    [projections.Taken]
    start = "inline-handover"
    tables = ["taken"]
    setup = "CREATE TABLE taken (seq bigint PRIMARY KEY)"
    sql = "INSERT INTO taken SELECT seq_id FROM batch"

    [projections.Other]
    tables = ["other"]
    setup = "CREATE TABLE other (seq bigint PRIMARY KEY)"
    sql = "INSERT INTO other SELECT seq_id FROM batch"
    """

  private func taken(_ database: TestDatabase) async throws -> [Int] {
    try await database.connected { session in
      try await session.execute("SELECT seq FROM taken ORDER BY seq").rows.map { try $0.get(0, as: Int.self) }
    }
  }

  /// The application, at work until it is cancelled.
  private static func writing(to database: TestDatabase) -> Task<Void, any Error> {
    Task {
      while !Task.isCancelled {
        try await database.append(type: "x", count: 1)
        try await Task.sleep(for: .milliseconds(100))
      }
    }
  }

  @Test func `is refused while a transaction appends, is told which one, and starts by itself when it ends`()
    async throws
  {
    let database = try await TestDatabase.make()
    _ = try await database.install(Self.toml)
    try await database.append(type: "x", count: 5)
    let config = try Program.settings(database.conninfo, Self.toml)
    var options = database.options
    options.applicationName = "the shop"
    let writer = try await Session.connect(options, threadName: "writer")
    try await writer.script("BEGIN; SELECT tidemark.append(gen_random_uuid(), '[{\"type\": \"x\", \"data\": {}}]')")
    let words =
      "events are still being appended: pid \(writer.processID) (the shop, local, postgres, idle in transaction since "

    let checked = try await Program.run(["check", "-c", config])
    #expect(checked.code == 1 && checked.error.contains("projections.Taken: \(words)"), "\(checked)")
    #expect(checked.error.contains("hint: With inline-handover the shard takes over"), "\(checked)")
    #expect(!checked.error.contains("projections.Other"), "\(checked)")

    let socket = try NotifySocket()
    // The test reads on, as systemd does, or the daemon waits for it.
    let reading = Task { while true { try await Task.sleep(for: .milliseconds(socket.messages.isEmpty ? 10 : 50)) } }
    defer { reading.cancel() }
    let daemon = try await DaemonProcess.start(config, environment: ["NOTIFY_SOCKET": socket.path])
    var status = ""
    try await eventually("status says why") {
      status = try await Program.run(["status", "-c", config]).output
      return status.contains("Taken:All: \(words)")
    }
    #expect(status.firstMatch(of: #/Taken:All +- +- +0 +paused/#) != nil, "\(status)")
    try await eventually("STATUS= says it") {
      socket.messages.contains { $0.contains("1 paused: Taken:All (events are still being appended: pid") }
    }
    try await eventually("the other projection follows") {
      try await database.value("SELECT count(*) FROM other", as: Int.self) == 5
    }
    #expect(try await database.position("Taken:All") == nil)

    try await writer.script("COMMIT")
    await writer.close()
    try await eventually("it starts") { try await database.position("Taken:All") == 6 }
    try await eventually("status says that it follows") {
      try await Program.run(["status", "-c", config]).output.contains(#/Taken:All +6 +0 +\d+ +following/#)
    }
    #expect(try await Program.run(["check", "-c", config]).code == 0)
    try await database.append(type: "x", count: 1)
    #expect(try await Program.run(["wait", "-c", config]).code == 0)
    #expect(try await taken(database) == [7])
    let log = try await daemon.stop().error.split(separator: "\n")
    let refused = log.filter { $0.contains("Shard not started: events are still being appended") }
    #expect(refused.count == 1 && refused[0].contains("the shop") && refused[0].contains("hint="), "\(log)")
    #expect(
      log.contains { $0.contains("Shard started") && $0.contains("position=6") && $0.contains("Taken") }, "\(log)")
  }

  /// Between two transactions nothing is under way, and the application is at work all the same.
  @Test func `does not slip in between two appends`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.toml)
    try await withDaemon(settings) { daemon in
      let writing = Self.writing(to: database)
      let failure = try await daemon.observed.first("the refusal") {
        $0.when(.shardRefused)?.failure
      }
      #expect(failure.message.hasPrefix("events are still being appended: "), "\(failure)")
      #expect(failure.code?.text == "TM213" && failure.hint != nil)
      writing.cancel()
      _ = await writing.result
      let last = try await database.value("SELECT max(seq_id) FROM mt_events", as: Int64.self)
      try await eventually("it starts") { try await database.position("Taken:All") != nil }
      #expect(try await database.position("Taken:All") == last)
      #expect(try await taken(database).isEmpty)
    }
  }

  /// What is looked up of the store while the shard waits is looked up anew each time.
  @Test func `bears that the sequence is changed while it waits, and starts all the same`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.toml)
    try await withDaemon(settings) { daemon in
      let writing = Self.writing(to: database)
      func refusals() -> Int {
        daemon.observed.all.count { $0.fact == .shardRefused }
      }
      try await eventually("the refusal") { refusals() > 0 }
      try await database.script("ALTER SEQUENCE mt_events_sequence CACHE 2")
      let before = refusals()
      try await eventually("it is refused again") { refusals() > before }
      writing.cancel()
      _ = await writing.result
      try await eventually("it starts") { try await database.position("Taken:All") != nil }
      #expect(try await taken(database).isEmpty)
    }
  }
}
