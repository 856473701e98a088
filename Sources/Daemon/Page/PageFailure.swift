import PluginHost
import Books
package import EventStore
package import Plugins
package import Postgres
package import Rules
package import Telemetry

/// A page that was not applied: what should be done about it, and what to tell the operator. The position did not move.
package struct PageFailure: Error, Sendable {
  package var failureClass: FailureClass
  package var failure: Failure
  /// What the server added, whole: for the dead letter, not for the log.
  package var detail: String?

  package init(_ failureClass: FailureClass, _ failure: Failure) {
    self.failureClass = failureClass
    self.failure = failure
  }

  /// - Parameter source: of the operator's statement that failed; nil for our own.
  package init(_ error: PostgresError, source: SourceLocation? = nil, sequence: Int64? = nil) {
    failureClass =
      error.isConnectionLoss
      ? .connection
      : error.sqlState.map { FailureClass.classify(sqlState: $0.code) } ?? .transient
    failure = Failure(error, source: source)
    failure.sequence = sequence
    detail = error.detail
  }

  /// What a step failed with, in whatever shape it came.
  ///
  /// - Throws: what is no failure of the page: `CancellationError`, also where it came by way of the server.
  package init(of error: any Error) throws {
    switch error {
    case let failure as PageFailure: self = failure
    case let error as PostgresError where error.isCancelled: throw CancellationError()
    case let error as PostgresError: self.init(error)
    case let problem as StoreProblem: self.init(problem)
    default: throw error
    }
  }

  package init(_ problem: PluginProblem) {
    self.init(problem.failureClass, Failure(problem))
  }

  /// What only a person can help, and is tried again by itself.
  package init(_ problem: StoreProblem) {
    self.init(.transient, Failure(problem.message, hint: problem.hint, sqlState: problem.code.rawValue))
  }

  /// What a plugin says of an event.
  package init(_ failure: PluginFailure) {
    self.init(
      failure.kind.failureClass,
      Failure(failure.message.shortened(to: 300), sqlState: failure.kind.sqlState, sequence: failure.sequence))
    detail = failure.message
  }

  /// As rules look at it.
  package func facts(projection: String) -> FailureFacts {
    FailureFacts(failureClass, sqlState: failure.sqlState, message: failure.message, projection: projection)
  }
}

extension Failure {
  /// What the server said, as far as it may be logged: the details of a data error or a violated constraint repeat whole rows, and a
  /// message may repeat a value of any length.
  package init(_ error: PostgresError, source: SourceLocation? = nil) {
    self.init(
      serverMessage: error.message, detail: error.detail, hint: error.hint, sqlState: error.sqlState?.code,
      source: source)
  }

  init(
    serverMessage: String, detail: String?, hint: String?, sqlState: String?, source: SourceLocation? = nil,
    sequence: Int64? = nil
  ) {
    let repeatsRows = ["22", "23"].contains(sqlState?.prefix(2))
    self.init(
      serverMessage.shortened(to: 300), detail: repeatsRows ? nil : detail?.nonEmpty?.shortened(to: 300),
      hint: hint?.nonEmpty?.shortened(to: 300), sqlState: sqlState, source: source, sequence: sequence)
  }
}

extension Observer {
  /// Says which events became dead letters.
  func observe(_ letters: [DeadLetters.Letter], of shard: ShardName) {
    for letter in letters {
      observe(
        .deadLetter(
          shard, sequence: letter.sequence,
          failure: Failure(serverMessage: letter.message, detail: letter.detail, hint: nil, sqlState: letter.sqlState)))
    }
  }
}

extension String {
  fileprivate var nonEmpty: String? { isEmpty ? nil : self }
}

extension SourceLocation {
  /// The line of a statement's text that PostgreSQL's error position points at; positions count characters from 1.
  package func offset(in text: String, by position: Int?) -> SourceLocation {
    guard line > 0, let position, position > 0 else { return self }
    let before = text.unicodeScalars.prefix(position - 1)
    return SourceLocation(file: file, line: line + before.count { $0 == "\n" })
  }
}
