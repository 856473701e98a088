@preconcurrency import Glibc
import Rules
import Systemd

/// The exit statuses of every verb.
enum ExitStatus: Int32, CaseIterable {
  case done = 0
  case failed = 1
  case usage = 2
  case unreachable = 3
  case timedOut = 4

  /// The meaning, for help and manual.
  var meaning: String {
    switch self {
    case .done: "done"
    case .failed: "the operation failed"
    case .usage: "wrong usage or settings"
    case .unreachable: "the database is unreachable"
    case .timedOut: "timed out"
    }
  }
}

/// A failed verb: the message to print, and the exit status.
struct CommandFailure: Error, CustomStringConvertible {
  var status: ExitStatus
  var problem: Problem

  init(_ status: ExitStatus, _ problem: Problem) {
    self.status = status
    self.problem = problem
  }

  init(_ status: ExitStatus, _ message: String, hint: String? = nil) {
    self.init(status, Problem(message, hint: hint))
  }

  var message: String { problem.description }
  var hint: String? { problem.hint ?? problem.detail }

  var description: String {
    "tidemark: \(message)" + (hint.map { "\n  hint: \($0)" } ?? "")
  }
}

/// What a verb says while it goes on: on standard error, so that its result stays readable for programs.
func printNote(_ text: String) { fputs((Journal.isStandardError ? "<4>" : "") + text + "\n", stderr) }

/// Prints to standard error. In the journal the lines become entries of level error, by the prefix of sd-daemon(3).
func printError(_ text: String) {
  let lines = text.split(separator: "\n").map { Journal.isStandardError ? "<3>\($0)" : String($0) }
  fputs(lines.joined(separator: "\n") + "\n", stderr)
}
