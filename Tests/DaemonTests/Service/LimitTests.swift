import Foundation
import Postgres
import Processes
import Sandbox
import TestSupport
import Testing

/// A limit of the system that is met for a moment costs that moment, and not the process.
@Suite(.gated, .enabled(if: getuid() == 0, "lowering a limit of another user takes root")) struct `A limit` {
  @Test func `of threads that is met for a moment ends no daemon`() async throws {
    let (low, high, word) = ("nproc=1:", "nproc=8192:", "no thread left")
    let database = try await TestDatabase.make()
    let config = try Program.settings(database.conninfo, Fleet.counters(1...1))
    #expect(try await Program.run(["init", "-c", config]).code == 0)
    chmod(config, 0o644)
    let log = config + ".log"
    let file = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    defer {
      close(file)
      unlink(log)
    }
    // Root has no limit of processes, and in a container no right to change those of others.
    let user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    var launch = Launch(user[0], Array(user.dropFirst()) + [Program.path, "run", "-c", config])
    launch.output = .nothing
    launch.error = .descriptor(file)
    let child = try await launch.start()
    try await database.append(type: "x", count: 20)
    #expect(try await Program.run(["wait", "-c", config]).code == 0)
    #expect(try await Program.command(user + ["prlimit", "--pid", "\(child.pid)", "--\(low)"]).code == 0)
    try await database.script(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    try await eventually("it meets the limit") {
      try String(contentsOfFile: log, encoding: .utf8).contains(word) || child.hasEnded
    }
    let text = try String(contentsOfFile: log, encoding: .utf8)
    try #require(!child.hasEnded, "\(text)")
    #expect(try await Program.command(user + ["prlimit", "--pid", "\(child.pid)", "--\(high)"]).code == 0)
    try await database.append(type: "x", count: 20)
    #expect(try await Program.run(["wait", "-c", config]).code == 0)
    #expect(try await database.value("SELECT count(*) FROM p1", as: Int.self) == 40)
    child.send(SIGTERM)
    try await eventually("its end") { child.hasEnded }
    #expect(await child.waitForEnd() == .exited(0))
  }
}
