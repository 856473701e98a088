package import Postgres
package import Rules

/// Turns errors of every layer into a ``Problem``.
extension Problem {
  package init(of error: any Error) {
    switch error {
    case let problem as Problem: self = problem
    case let error as PostgresError: self.init(error)
    default: self.init("\(error)")
    }
  }

  /// An error from the server, without the parts that must not be logged.
  ///
  /// - Parameter source: of the operator's statement that failed; nil for one of our own.
  package init(_ error: PostgresError, source: SourceLocation? = nil, sequence: Int64? = nil) {
    let isOurs = source == nil && error.sqlState == .insufficientPrivilege
    let isMissing =
      source == nil && error.sqlState == .undefinedTable
      && SearchPath.ownSchemas.contains { error.message.contains("\"\($0).") }
    // Not even the owner of the schema may create there.
    let isHomeless = error.sqlState == .insufficientPrivilege && error.message.contains(SearchPath.page)
    self.init(
      serverMessage: error.message, detail: error.detail,
      hint: error.hint
        ?? (isHomeless
          ? "What a statement, or a function that it calls, creates needs its schema in the name: see NAMES in tidemark(7)."
          : nil) ?? (isMissing ? "Run `tidemark init`, which makes what is missing of Tidemark's own." : nil)
            ?? (isOurs ? "See PRIVILEGES in tidemark(7) for the grants that each role needs." : nil)
              ?? error.sqlState.flatMap { ServerHint.of(sqlState: $0.code) },
      sqlState: error.sqlState?.code, source: source, sequence: sequence)
  }

  /// The same for an error that a function caught on the server. The details of a data error or a violated constraint repeat whole rows,
  /// and a message may repeat a value of any length.
  package init(
    serverMessage: String, detail: String?, hint: String?, sqlState: String?, source: SourceLocation? = nil,
    sequence: Int64? = nil
  ) {
    let repeatsRows = ["22", "23"].contains(sqlState?.prefix(2))
    let whole = Problem(
      serverMessage, code: sqlState.map(Code.init(sqlState:)), detail: repeatsRows ? nil : detail, hint: hint,
      source: source, sequence: sequence)
    self = whole.shortened
  }
}

extension PostgresError {
  /// Whether the same may well succeed later without anyone's doing: the session or the server is at fault, a lock, or a timeout.
  package var mayPass: Bool {
    if isConnectionLoss || isStalePlan { return true }
    if case .timedOut = kind { return true }
    return sqlState.map { [.connection, .transient].contains(FailureClass.classify(sqlState: $0.code)) } ?? false
  }
}
