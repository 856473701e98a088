import CLibpq

/// A message from the server: an error or a notice.
package struct ServerMessage: Sendable, Hashable {
  /// `ERROR`, `FATAL`, `NOTICE`…, never translated.
  package var severity: String
  package var sqlState: SQLState
  package var message: String
  package var detail: String?
  package var hint: String?
  /// The place in the statement, in characters from 1.
  package var position: Int?
  package var context: String?
  package var schema: String?
  package var table: String?
  package var column: String?
  package var constraint: String?
  /// The function of the server's source that raised it: unlike the message, no language of the server changes it.
  package var routine: String?
}

/// Why a statement or a connection failed. The text never contains the values of binds.
package struct PostgresError: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Kind: Sendable, Hashable {
    case server(ServerMessage)
    /// The connection could not be made, or was lost.
    case connection(String)
    /// The Swift task was cancelled, and with it the statement on the server.
    case cancelled
    /// The statement was cancelled on the server because the caller's timeout passed.
    case timedOut(Duration)
    /// A column does not hold the type that the caller expects.
    case decoding(String)
    /// The caller used the API incorrectly.
    case usage(String)
  }

  package var kind: Kind
  /// The index of the failed statement in a pipeline, from 0.
  package var statementIndex: Int?
  /// With ``Kind/connection(_:)``: the code with which a server refused the connection.
  var refusal: SQLState?

  package init(_ kind: Kind, statementIndex: Int? = nil) {
    self.kind = kind
    self.statementIndex = statementIndex
  }

  var server: ServerMessage? { if case .server(let message) = kind { message } else { nil } }

  package var sqlState: SQLState? { server?.sqlState ?? refusal }
  package var detail: String? { server?.detail }
  package var hint: String? { server?.hint }
  package var constraint: String? { server?.constraint }
  /// The table whose constraint was violated: its schema and its name.
  package var table: (schema: String, name: String)? {
    if let schema = server?.schema, let name = server?.table { (schema, name) } else { nil }
  }
  package var routine: String? { server?.routine }
  /// The place in the statement, in characters from 1.
  package var statementPosition: Int? { server?.position }

  /// Whether the session is of no more use: it is lost, was never established, or its server accepts no writes. Another session, perhaps
  /// on another host, may work.
  package var isConnectionLoss: Bool {
    switch kind {
    case .connection: true
    case .server(let message): message.sqlState.endsSession || ["FATAL", "PANIC"].contains(message.severity)
    case .cancelled, .timedOut, .decoding, .usage: false
    }
  }

  package var isCancelled: Bool { kind == .cancelled }

  /// Whether the server still had a plan, in the session, for a statement whose columns have changed since.
  package var isStalePlan: Bool { sqlState == .featureNotSupported && routine == "RevalidateCachedQuery" }

  package var message: String {
    switch kind {
    case .server(let message): message.message
    case .connection(let text), .decoding(let text), .usage(let text): text
    case .cancelled: "the statement was cancelled"
    case .timedOut(let limit): "the statement took longer than \(limit)"
    }
  }

  package var description: String { message + (sqlState.map { " (SQLSTATE \($0))" } ?? "") }
}

extension ServerMessage {
  /// Reads the fields of an error or a notice; the caller keeps ownership of the result.
  init(_ result: OpaquePointer) {
    func field(_ code: Unicode.Scalar) -> String? {
      PQresultErrorField(result, Int32(code.value)).map { String(cString: $0) }
    }
    severity = field("V") ?? field("S") ?? "ERROR"
    sqlState = SQLState(field("C") ?? "")
    message = field("M") ?? String(cString: PQresultErrorMessage(result)).trimmed
    detail = field("D")
    hint = field("H")
    position = field("P").flatMap { Int($0) }
    context = field("W")
    schema = field("s")
    table = field("t")
    column = field("c")
    constraint = field("n")
    routine = field("R")
  }
}

extension String {
  /// The text without trailing white space: libpq ends its messages with a newline.
  var trimmed: String {
    guard let last = lastIndex(where: { !$0.isWhitespace }) else { return "" }
    return String(self[...last])
  }
}
