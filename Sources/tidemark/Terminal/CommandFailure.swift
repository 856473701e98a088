@preconcurrency import Glibc
import Systemd

/// The exit statuses of every verb.
enum ExitStatus: Int32, CaseIterable {
  case done = 0
  case failed = 1
  case usage = 2
  case unreachable = 3
  case timedOut = 4

  /// For help and manual.
  var meaning: String {
    switch self {
    case .done: "done"
    case .failed: "the thing asked for failed"
    case .usage: "usage or configuration"
    case .unreachable: "the database cannot be reached"
    case .timedOut: "timed out"
    }
  }
}

/// A verb that did not do what was asked: what to print, and how to exit.
struct CommandFailure: Error, CustomStringConvertible {
  var status: ExitStatus
  var message: String
  var hint: String?

  init(_ status: ExitStatus, _ message: String, hint: String? = nil) {
    self.status = status
    self.message = message
    self.hint = hint
  }

  var description: String {
    "tidemark: \(message)" + (hint.map { "\n  hint: \($0)" } ?? "")
  }
}

/// On standard error; in the journal as entries of level error, which is what the prefix of sd-daemon(3) asks for.
func printError(_ text: String) {
  let lines = text.split(separator: "\n").map { Journal.isStandardError ? "<3>\($0)" : String($0) }
  fputs(lines.joined(separator: "\n") + "\n", stderr)
}
