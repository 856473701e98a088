/// PostgreSQL's five-character error code. See "PostgreSQL Error Codes" in its manual.
package struct SQLState: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
  package let code: String

  package init(_ code: String) { self.code = code }
  package init(stringLiteral code: String) { self.code = code }

  /// The first two characters: the class of the failure.
  package var classCode: String { String(code.prefix(2)) }

  package var description: String { code }
}

extension SQLState {
  package static let invalidStatementName: SQLState = "26000"
  package static let featureNotSupported: SQLState = "0A000"
  package static let deadlockDetected: SQLState = "40P01"
  package static let insufficientPrivilege: SQLState = "42501"
  package static let undefinedColumn: SQLState = "42703"
  package static let undefinedTable: SQLState = "42P01"
  package static let characterNotInRepertoire: SQLState = "22021"
  package static let divisionByZero: SQLState = "22012"
  package static let lockNotAvailable: SQLState = "55P03"
  package static let diskFull: SQLState = "53100"
  package static let queryCanceled: SQLState = "57014"
  static let adminShutdown: SQLState = "57P01"
  static let crashShutdown: SQLState = "57P02"
  static let cannotConnectNow: SQLState = "57P03"
  static let databaseDropped: SQLState = "57P04"
  static let idleSessionTimeout: SQLState = "57P05"
  static let idleInTransactionSessionTimeout: SQLState = "25P03"
  static let transactionTimeout: SQLState = "25P04"
  /// From a standby, and from a server whose default_transaction_read_only is on.
  package static let readOnlyTransaction: SQLState = "25006"

  /// Whether the server ends the session with this code, refuses to begin one, or accepts no writes in it.
  var endsSession: Bool {
    classCode == "08"
      || [
        .adminShutdown, .crashShutdown, .cannotConnectNow, .databaseDropped, .idleSessionTimeout,
        .idleInTransactionSessionTimeout, .transactionTimeout, .readOnlyTransaction,
      ].contains(self)
  }
}
