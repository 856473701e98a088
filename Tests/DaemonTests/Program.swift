import Foundation
import Sandbox
import Subprocess
import Testing

/// The real program, with its output and its exit status.
enum Program {
  /// Beside the test bundle, where the build put it.
  static let path = Bundle.main.executableURL!.deletingLastPathComponent().appending(path: "tidemark").path
  /// The top of the package.
  static let package = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  struct Outcome: Sendable {
    var status: TerminationStatus
    var output: String
    var error: String

    var code: Int { if case .exited(let code) = status { Int(code) } else { -1 } }
  }

  static func run(_ arguments: [String], environment: [String: String] = [:]) async throws -> Outcome {
    try await command([path] + arguments, environment: environment)
  }

  /// Any program, found by its name or its path.
  static func command(_ words: [String], environment: [String: String] = [:]) async throws -> Outcome {
    let variables = Dictionary(
      uniqueKeysWithValues: environment.map { (Environment.Key(stringLiteral: $0.key), $0.value) })
    let result = try await Subprocess.run(
      .name("env"), arguments: Arguments(words), environment: .inherit.updating(variables),
      output: .string(limit: 4 << 20), error: .string(limit: 4 << 20))
    return Outcome(status: result.terminationStatus, output: result.standardOutput, error: result.standardError)
  }

  /// A file of settings of its own.
  static func file(_ text: String) throws -> String {
    let path = FileManager.default.temporaryDirectory.appending(path: "tidemark-test-\(UUID().uuidString).toml").path
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  static func settings(
    _ conninfo: String, _ projections: String = SampleProjections.toml, head: String = "", database: String = "",
    eventStore: String = "append = \"quick\""
  ) throws -> String {
    let parts = [
      head, "[database]\nurl = \"\(conninfo)\"", database, "[event_store]\n\(eventStore)", projections, "",
    ]
    return try file(parts.enumerated().filter { !$1.isEmpty || $0 == parts.count - 1 }.map(\.1).joined(separator: "\n"))
  }
}

/// `tidemark` as a child process that a test can send signals to.
struct ProgramProcess {
  let pid: pid_t
  private let ending: Task<Program.Outcome, any Error>

  /// - Parameters:
  ///   - arguments: the last of them tells the process from all others.
  ///   - prefix: a command that becomes the program, such as `ip netns exec NAME`.
  static func start(
    _ arguments: [String], prefix: [String] = [], environment: [String: String] = [:]
  ) async throws -> ProgramProcess {
    let ending = Task {
      try await Program.command(prefix + [Program.path] + arguments, environment: environment)
    }
    var found: pid_t?
    try await eventually("the process of \(arguments)") {
      for name in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
        guard let pid = pid_t(name), let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else {
          continue
        }
        let words = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        if words.first?.hasSuffix("/tidemark") == true, Array(words.dropFirst()) == arguments { found = pid }
      }
      return found != nil
    }
    return ProgramProcess(pid: found!, ending: ending)
  }

  func send(_ signal: Int32) { kill(pid, signal) }

  /// What it said and how it ended; ends the test when it does not end.
  func outcome() async throws -> Program.Outcome { try await ending.value }
}

/// `tidemark run` as a child process.
struct DaemonProcess {
  private let process: ProgramProcess

  var pid: pid_t { process.pid }

  static func start(
    _ config: String, prefix: [String] = [], environment: [String: String] = [:]
  ) async throws -> DaemonProcess {
    DaemonProcess(
      process: try await ProgramProcess.start(["run", "-c", config], prefix: prefix, environment: environment))
  }

  func send(_ signal: Int32) { process.send(signal) }

  func outcome() async throws -> Program.Outcome { try await process.outcome() }

  func stop() async throws -> Program.Outcome {
    send(SIGTERM)
    return try await outcome()
  }
}
