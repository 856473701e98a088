package import Foundation
package import Processes
import Sandbox
import Testing

/// The real program, with its output and its exit status.
package enum Program {
  /// Beside the test bundle, where the build put it.
  package static let path = Bundle.main.executableURL!.deletingLastPathComponent().appending(path: "tidemark").path
  /// The top of the package.
  package static let package = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  package struct Outcome: Sendable {
    package var status: Termination
    package var output: String
    package var error: String

    package var code: Int { if case .exited(let code) = status { Int(code) } else { -1 } }
  }

  package static func run(_ arguments: [String], environment: [String: String] = [:]) async throws -> Outcome {
    try await command([path] + arguments, environment: environment)
  }

  /// Any program, found by its name or its path.
  package static func command(_ words: [String], environment: [String: String] = [:]) async throws -> Outcome {
    try await start(words, environment: environment).outcome()
  }

  fileprivate static func start(_ words: [String], environment: [String: String]) async throws -> Child {
    try await Launch(
      words[0], Array(words.dropFirst()), environment: .inherited(environment.mapValues(Optional.some))
    ).start()
  }

  /// A file of settings of its own.
  package static func file(_ text: String) throws -> String {
    let path = FileManager.default.temporaryDirectory.appending(path: "tidemark-test-\(UUID().uuidString).toml").path
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  package static func settings(
    _ conninfo: String, _ projections: String = SampleProjections.toml, head: String = "", database: String = "",
    eventStore: String = "append = \"quick\""
  ) throws -> String {
    let parts = [
      head, "[database]\nurl = \"\(conninfo)\"", database, "[event_store]\n\(eventStore)", projections, "",
    ]
    return try file(parts.enumerated().filter { !$1.isEmpty || $0 == parts.count - 1 }.map(\.1).joined(separator: "\n"))
  }
}

extension Child {
  /// What it said and how it ended; ends it when the task is cancelled.
  fileprivate func outcome() async throws -> Program.Outcome {
    let outcome = try await collect(limit: 4 << 20)
    return Program.Outcome(status: outcome.termination, output: outcome.output, error: outcome.error)
  }
}

/// `tidemark` as a child process that a test can send signals to.
package struct ProgramProcess {
  package let pid: pid_t
  private let child: Child
  private let ending: Task<Program.Outcome, any Error>

  /// - Parameter prefix: a command that becomes the program, such as `ip netns exec NAME`; it has become it when this returns.
  package static func start(
    _ arguments: [String], prefix: [String] = [], environment: [String: String] = [:]
  ) async throws -> ProgramProcess {
    let child = try await Program.start(prefix + [Program.path] + arguments, environment: environment)
    let ending = Task { try await child.outcome() }
    if !prefix.isEmpty {
      try await eventually("the process of \(arguments)") {
        let line = FileManager.default.contents(atPath: "/proc/\(child.pid)/cmdline") ?? Data()
        return line.split(separator: 0).first.map { String(decoding: $0, as: UTF8.self) } == Program.path
      }
    }
    return ProgramProcess(pid: child.pid, child: child, ending: ending)
  }

  package func send(_ signal: Int32) { child.send(signal) }

  /// What it said and how it ended; ends the test when it does not end.
  package func outcome() async throws -> Program.Outcome { try await ending.value }
}

/// `tidemark run` as a child process.
package struct DaemonProcess {
  private let process: ProgramProcess

  package var pid: pid_t { process.pid }

  package static func start(
    _ config: String, prefix: [String] = [], environment: [String: String] = [:]
  ) async throws -> DaemonProcess {
    DaemonProcess(
      process: try await ProgramProcess.start(["run", "-c", config], prefix: prefix, environment: environment))
  }

  package func send(_ signal: Int32) { process.send(signal) }

  package func outcome() async throws -> Program.Outcome { try await process.outcome() }

  package func holdsSignals() async throws { try await TestSupport.holdsSignals(pid) }

  /// Plugins that run, and any other child.
  package var children: [pid_t] { TestSupport.children(of: pid) }

  package func stop() async throws -> Program.Outcome {
    send(SIGTERM)
    return try await outcome()
  }
}

/// Of all threads of a process.
package func children(of pid: pid_t) -> [pid_t] {
  let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
  return tasks.flatMap { task in
    ((try? String(contentsOfFile: "/proc/\(pid)/task/\(task)/children", encoding: .utf8)) ?? "")
      .split(separator: " ").compactMap { pid_t($0) }
  }
}

/// Waits until a process that was started a moment ago is no longer ended by a signal itself.
package func holdsSignals(_ pid: pid_t) async throws {
  try await eventually("it holds its signals") {
    guard let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8) else { return true }
    return status.split(separator: "\n").contains { line in
      guard line.hasPrefix("SigBlk:") else { return false }
      return UInt64(line.dropFirst(7).trimmingCharacters(in: .whitespaces), radix: 16)! & 1 << (SIGTERM - 1) != 0
    }
  }
}
