import Rules

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
  /// More lines, such as one for each of several problems.
  var details: [String]

  init(_ status: ExitStatus, _ problem: Problem, details: [String] = []) {
    self.status = status
    self.problem = problem
    self.details = details
  }

  init(_ status: ExitStatus, _ message: String, hint: String? = nil, details: [String] = []) {
    self.init(status, Problem(message, hint: hint), details: details)
  }

  var message: String { problem.description }
  var hint: String? { problem.hint ?? problem.detail }

  /// - Parameter subject: before the message: what failed.
  func lines(_ subject: String) -> [String] {
    ["\(subject): \(message)"] + (hint.map { ["  hint: \($0)"] } ?? []) + details
  }

  var description: String { lines("tidemark").map(printable).joined(separator: "\n") }
}
