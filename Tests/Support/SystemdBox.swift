import Foundation
import Glibc
package import Testing

/// A real systemd as PID 1 of its own namespaces, on a throw-away overlay of this machine's root. See `systemd-box.sh`.
package struct SystemdBox {
  /// It needs namespaces and mounts of its own.
  package static var isPossible: Bool {
    geteuid() == 0 && FileManager.default.fileExists(atPath: "/lib/systemd/systemd")
  }

  private static let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "systemd-box.sh")
    .path
  private let directory: String

  /// - Parameter binds: directories of this machine, and where they are to be seen inside.
  package static func with(binds: [String: String], _ body: (SystemdBox) async throws -> Void) async throws {
    let box = SystemdBox(
      directory: FileManager.default.temporaryDirectory.appending(path: "tidemark-box-\(UUID().uuidString)").path)
    let started = try await Program.command(
      [script, "start", box.directory],
      environment: ["BOX_BIND": binds.map { "\($0.key):\($0.value)" }.joined(separator: " ")])
    try #require(started.code == 0, "\(started)")
    do {
      try await body(box)
      await box.stop()
    } catch {
      let journal = try? await box.run("journalctl -b --no-pager -n 60").output
      Issue.record("the box's journal ends with:\n\(journal ?? "nothing")")
      await box.stop()
      throw error
    }
  }

  /// Runs a command line of a shell inside.
  @discardableResult
  package func run(_ line: String, sourceLocation: Testing.SourceLocation = #_sourceLocation) async throws
    -> Program.Outcome
  {
    try await Program.command([Self.script, "exec", directory, "sh", "-c", line])
  }

  /// Its output, where it succeeds.
  package func text(_ line: String, sourceLocation: Testing.SourceLocation = #_sourceLocation) async throws -> String {
    let outcome = try await run(line)
    #expect(outcome.code == 0, "\(line): \(outcome)", sourceLocation: sourceLocation)
    return outcome.output
  }

  package func write(_ text: String, to path: String) async throws {
    let made = try await run("mkdir -p $(dirname \(path)) && cat >\(path) <<'END_OF_FILE'\n\(text)\nEND_OF_FILE\n")
    try #require(made.code == 0, "\(made)")
  }

  package func reboot() async throws {
    let outcome = try await Program.command([Self.script, "reboot", directory])
    try #require(outcome.code == 0, "\(outcome)")
  }

  private func stop() async { _ = try? await Program.command([Self.script, "stop", directory]) }
}
