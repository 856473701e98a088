import PluginHost
import Books
import EventStore
package import Plugins
package import Postgres
package import Rules
import Telemetry

/// A page that was not applied: its failure class decides what to do, its problem is for the operator. The position did not move.
package struct PageFailure: Error, Sendable {
  package var failureClass: FailureClass
  package var failure: Problem
  /// The server's whole detail, for the dead letter; the log has a shortened one.
  package var detail: String?
  /// The error of the lost connection, if that is why.
  package private(set) var lost: PostgresError?
  /// How it depends on the width of the page.
  var width = Shard.Width.independent
  /// The session had an outdated plan.
  private var isStalePlan = false

  package init(_ failureClass: FailureClass, _ failure: Problem) {
    self.failureClass = failureClass
    self.failure = failure
  }

  /// - Parameter source: of the operator's statement that failed; nil for one of Tidemark's own.
  package init(_ error: PostgresError, source: SourceLocation? = nil, sequence: Int64? = nil) {
    self.init(Problem(error, source: source, sequence: sequence))
    if error.isConnectionLoss { failureClass = .connection }
    if error.isStalePlan {
      failureClass = .transient
      isStalePlan = true
    }
    if let state = error.sqlState, TooWide.isLikely(sqlState: state.code, routine: error.routine) {
      width = .dependent
    }
    detail = error.detail
    lost = error.isConnectionLoss ? error : nil
  }

  /// - Parameter problem: its code decides the failure class.
  package init(_ problem: Problem) { self.init(problem.code.map(FailureClass.of) ?? .transient, problem.shortened) }

  /// Makes a failure of any error that a step throws.
  ///
  /// - Throws: an error that is not a failure of the page: `CancellationError`, also if the server reported it, and problems that end a
  ///   rebuild.
  package init(of error: any Error) throws {
    switch error {
    case let failure as PageFailure: self = failure
    case let error as PostgresError where error.isCancelled: throw CancellationError()
    case let error as PostgresError: self.init(error)
    case let problem as Problem where !problem.isOfRebuild: self.init(problem)
    default: throw error
    }
  }

  /// A failed event that a plugin reported.
  package init(_ failure: PluginFailure) {
    self.init(
      failure.kind.failureClass,
      Problem(failure.message, code: failure.kind.sqlState.map(Code.sqlState), sequence: failure.sequence).shortened)
    detail = failure.message
  }

  /// Whether the session may be at fault, and not the statement: see ``SessionPool/withPageSession(for:unlessStopped:_:)``.
  var mayBeOfSession: Bool {
    if isStalePlan { return true }
    guard case .sqlState = failure.code else { return false }
    return failureClass == .definition
  }

  /// The same failure, of a page that had a session: losing that may be the page's fault.
  func underPage() -> PageFailure {
    var failure = self
    if let lost, width == .independent, [nil, "57P01", "57P02"].contains(lost.sqlState) { failure.width = .suspected }
    return failure
  }

  /// The same failure, after which the next page has fewer events, whatever numbers it spans; one event cannot be fewer.
  func narrowed(from events: Int) -> PageFailure {
    var failure = self
    failure.width = events > 1 ? .narrowed : .independent
    return failure
  }

  /// As an operator may see it.
  func concealed(by concealment: Concealment) -> PageFailure {
    var concealed = self
    concealed.failure = failure.concealed(by: concealment)
    concealed.detail = detail.map(concealment.concealing)
    return concealed
  }

  /// Whether the server lacks something that the end of the session may give back: memory, temporary files.
  var exhaustsServer: Bool { failure.code?.text.hasPrefix("53") ?? false }

  /// The facts that `[[on_error]]` rules match.
  package func facts(projection: String) -> FailureFacts {
    FailureFacts(failureClass, sqlState: failure.code?.text, message: failure.message, projection: projection)
  }
}

extension Observer {
  /// Reports the events that became dead letters.
  func observe(_ letters: [DeadLetters.Letter], of shard: ShardName) {
    for letter in letters {
      observe(
        .deadLetter(
          shard, sequence: letter.sequence,
          failure: Problem(serverMessage: letter.message, detail: letter.detail, hint: nil, sqlState: letter.sqlState)))
    }
  }
}

extension SourceLocation {
  /// The line that PostgreSQL's error position points at in a statement's text; positions count characters from 1.
  package func offset(in text: String, by position: Int?) -> SourceLocation {
    guard line > 0, let position, position > 0 else { return self }
    let before = text.unicodeScalars.prefix(position - 1)
    return SourceLocation(file: file, line: line + before.count { $0 == "\n" })
  }
}
