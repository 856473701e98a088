import Foundation
import Postgres
import Processes
import Sandbox
import TestSupport
import Testing

/// Whoever reads what the daemon says may hang: nothing waits for them.
@Suite(.gated) struct `A daemon that nobody reads` {
  /// A pipe whose reader takes nothing, full to the last byte.
  private final class FullPipe {
    let (reader, writer): (Int32, Int32)

    init() throws {
      var ends: [Int32] = [0, 0]
      try #require(pipe(&ends) == 0)
      (reader, writer) = (ends[0], ends[1])
      for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
      fill()
    }

    func fill() {
      _ = fcntl(writer, F_SETFL, O_NONBLOCK)
      let filling = [UInt8](repeating: UInt8(ascii: "x"), count: 4096)
      while write(writer, filling, filling.count) > 0 {}
      while write(writer, filling, 1) > 0 {}
      _ = fcntl(writer, F_SETFL, 0)
    }

    /// Everything in it now.
    func text() -> String {
      _ = fcntl(reader, F_SETFL, O_NONBLOCK)
      var (bytes, buffer): ([UInt8], [UInt8]) = ([], [UInt8](repeating: 0, count: 65_536))
      while case let count = read(reader, &buffer, buffer.count), count > 0 { bytes += buffer.prefix(count) }
      return String(decoding: bytes.drop { $0 == UInt8(ascii: "x") }, as: UTF8.self)
    }

    deinit { for end in [reader, writer] { close(end) } }
  }

  /// A daemon with a log at debug level, started with this on standard error and in its environment.
  private func started(
    _ database: TestDatabase, error: Launch.Stream, environment: [String: String] = [:]
  ) async throws -> (Child, config: String) {
    let config = try Program.settings(
      database.conninfo, Fleet.counters(1...1), head: "stop_timeout = \"3s\"\n[log]\nlevel = \"debug\"")
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    var launch = Launch(
      Program.path, ["run", "-c", config], environment: .inherited(environment.mapValues(Optional.some)))
    launch.output = .nothing
    launch.error = error
    let child = try await launch.start()
    try await holdsSignals(child.pid)
    return (child, config)
  }

  /// Reloads, and events meanwhile.
  private func applies(_ database: TestDatabase, _ child: Child) async throws {
    for round in 1...5 {
      child.send(SIGHUP)
      try await database.append(type: "x", count: 20)
      try await eventually("round \(round) is applied") {
        try await database.value("SELECT count(*) FROM p1", as: Int.self) == 20 * round
      }
    }
  }

  private func obeysAndEnds(_ child: Child, _ config: String) async throws {
    for verb in ["pause", "resume"] {
      let outcome = try await Program.run([verb, "P1", "-c", config])
      #expect(outcome.code == 0, "\(outcome)")
    }
    child.send(SIGTERM)
    try await eventually("its end") { child.hasEnded }
    #expect(await child.waitForEnd() == .exited(0))
  }

  @Test func `on standard error applies events, obeys, and ends`() async throws {
    let (database, pipe) = (try await TestDatabase.make(), try FullPipe())
    let (child, config) = try await started(database, error: .descriptor(pipe.writer))
    try await applies(database, child)
    try await obeysAndEnds(child, config)
    #expect(pipe.text().isEmpty)
  }

  /// The same when the reader hangs later, and tells what it missed when it is back.
  @Test func `for a while loses nothing that its queue can hold`() async throws {
    let (database, pipe) = (try await TestDatabase.make(), try FullPipe())
    let (child, config) = try await started(database, error: .descriptor(pipe.writer))
    try await database.append(type: "x", count: 20)
    #expect(try await Program.run(["wait", "-c", config]).code == 0)
    var log = ""
    try await eventually("the reader is back, and reads everything from the first line on") {
      log += pipe.text()
      return log.contains("Tidemark started") && log.contains("Page applied")
    }
    child.send(SIGTERM)
    try await eventually("its end") { child.hasEnded }
    #expect(await child.waitForEnd() == .exited(0))
    log += pipe.text()
    #expect(log.contains("Stopped"))
  }

  /// A settings file that cannot be used is said, and the process ends, whether someone reads it or not.
  @Test func `and that cannot start ends all the same`() async throws {
    let pipe = try FullPipe()
    var launch = Launch(Program.path, ["run", "-c", "/nowhere/tidemark.toml"])
    launch.error = .descriptor(pipe.writer)
    let child = try await launch.start()
    try await eventually("its end") { child.hasEnded }
    #expect(await child.waitForEnd() == .exited(2))
  }

  /// The queue of a datagram socket that a frozen service manager does not read is full after some ten signs of life.
  @Test func `as its service manager hangs goes on, and tells it the newest when it is back`() async throws {
    let (database, socket) = (try await TestDatabase.make(), try NotifySocket())
    let (child, config) = try await started(
      database, error: .nothing, environment: ["NOTIFY_SOCKET": socket.path, "WATCHDOG_USEC": "30000"])
    socket.fill()
    try await applies(database, child)
    var messages: [String] = []
    try await eventually("the reader is back, and learns that it is ready") {
      messages = socket.messages
      return messages.contains("READY=1") && messages.contains { $0.hasPrefix("STATUS=following with 1 of 1") }
    }
    socket.fill()
    try await obeysAndEnds(child, config)
  }
}
