/// PostgreSQL's five-character error code. See "PostgreSQL Error Codes" in its manual.
package struct SQLState: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
  package let code: String

  package init(_ code: String) { self.code = code }
  package init(stringLiteral code: String) { self.code = code }

  /// The first two characters: what kind of failure it is.
  package var classCode: String { String(code.prefix(2)) }

  package var description: String { code }
}

extension SQLState {
  package static let activeTransaction: SQLState = "25001"
  package static let inFailedTransaction: SQLState = "25P02"
  package static let invalidStatementName: SQLState = "26000"
  package static let featureNotSupported: SQLState = "0A000"
  package static let serializationFailure: SQLState = "40001"
  package static let deadlockDetected: SQLState = "40P01"
  package static let uniqueViolation: SQLState = "23505"
  package static let foreignKeyViolation: SQLState = "23503"
  package static let checkViolation: SQLState = "23514"
  package static let syntaxError: SQLState = "42601"
  package static let insufficientPrivilege: SQLState = "42501"
  package static let undefinedColumn: SQLState = "42703"
  package static let undefinedTable: SQLState = "42P01"
  package static let invalidColumnReference: SQLState = "42P10"
  package static let divisionByZero: SQLState = "22012"
  package static let invalidTextRepresentation: SQLState = "22P02"
  package static let diskFull: SQLState = "53100"
  package static let tooManyConnections: SQLState = "53300"
  package static let lockNotAvailable: SQLState = "55P03"
  package static let queryCanceled: SQLState = "57014"
  package static let adminShutdown: SQLState = "57P01"
  package static let crashShutdown: SQLState = "57P02"
  package static let cannotConnectNow: SQLState = "57P03"

  package static let databaseDropped: SQLState = "57P04"
  package static let idleSessionTimeout: SQLState = "57P05"
  package static let idleInTransactionSessionTimeout: SQLState = "25P03"

  /// The server ends the session with these, or refuses to begin one.
  var endsSession: Bool {
    classCode == "08"
      || [
        .adminShutdown, .crashShutdown, .cannotConnectNow, .databaseDropped, .idleSessionTimeout,
        .idleInTransactionSessionTimeout,
      ].contains(self)
  }
}
