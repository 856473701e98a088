import CLibpq
import Glibc

// Sending statements and reading their results, on the connection's thread.
extension Connection {
  /// Queues one statement with its binds; by name if it was prepared.
  func send(_ sql: SQL, statement: String?) throws(PostgresError) {
    try refuseZeros(in: sql)
    try post(sql, statement: statement)
  }

  /// Refuses zero bytes: libpq's strings end there, so the rest would not be sent, and the statement would be a
  /// different one.
  ///
  /// - Throws: the server's error for a character that it cannot store, before anything is sent.
  private func refuseZeros(in sql: SQL) throws(PostgresError) {
    guard sql.text.utf8.contains(0) || sql.binds.contains(where: { $0.text?.utf8.contains(0) ?? false }) else { return }
    throw PostgresError(
      .server(
        ServerMessage(
          severity: "ERROR", sqlState: .characterNotInRepertoire,
          message: "a text contains the character NUL (U+0000), which PostgreSQL cannot store")))
  }

  private func post(_ sql: SQL, statement: String?) throws(PostgresError) {
    let types = sql.binds.map(\.type)
    let sent = withParameters(sql.binds) { values in
      if let statement {
        PQsendQueryPrepared(pointer, statement, Int32(values.count), values.baseAddress, nil, nil, 0)
      } else {
        PQsendQueryParams(pointer, sql.text, Int32(values.count), types, values.baseAddress, nil, nil, 0)
      }
    }
    if sent == 0 { throw lost("the statement could not be sent") }
  }

  func send(prepare sql: SQL, name: String) throws(PostgresError) {
    try refuseZeros(in: sql)
    try post(prepare: sql, name: name)
  }

  private func post(prepare sql: SQL, name: String) throws(PostgresError) {
    let types = sql.binds.map(\.type)
    if PQsendPrepare(pointer, name, sql.text, Int32(types.count), types) == 0 {
      throw lost("the statement could not be sent")
    }
  }

  func send(script: String) throws(PostgresError) {
    if PQsendQuery(pointer, script) == 0 { throw lost("the statements could not be sent") }
  }

  /// Reads all results to the end, then throws the first error, if any.
  func results(_ operation: Operation) throws(PostgresError) -> [ResultSet] {
    var cancelling = Cancelling()
    try flush(operation, &cancelling)
    var all: [ResultSet] = []
    var failure: PostgresError?
    while let result = try nextResult(operation, &cancelling) {
      switch PQresultStatus(result) {
      case PGRES_FATAL_ERROR, PGRES_BAD_RESPONSE:
        failure = failure ?? cancelling.error(for: ServerMessage(result))
        PQclear(result)
        try throwIfFinal(failure)
      case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
        PQclear(result)
        close()
        throw PostgresError(.usage("COPY to or from the client needs a call of its own"))
      default: all.append(ResultSet(owning: result))
      }
    }
    try settle(cancelling)
    try throwIfFailed(failure)
    if all.isEmpty { throw PostgresError(.usage("there was no statement")) }
    return all
  }

  /// Throws an error with which the server ends the session: to read on would find only the end, and not the reason.
  private func throwIfFinal(_ failure: PostgresError?) throws(PostgresError) {
    guard let failure, ["FATAL", "PANIC"].contains(failure.server?.severity) else { return }
    close()
    throw failure
  }

  /// Throws the error; a FATAL one also ends the session, so that the next statement does not have to find out.
  private func throwIfFailed(_ failure: PostgresError?) throws(PostgresError) {
    guard let failure else { return }
    if failure.isConnectionLoss || PQstatus(pointer) == CONNECTION_BAD { close() }
    throw failure
  }

  /// Runs all statements in one round trip, each prepared on first use.
  func pipeline(
    _ statements: [SQL], _ prepared: inout PreparedStatements, _ operation: Operation
  ) throws(PostgresError) -> [ResultSet] {
    for (index, sql) in statements.enumerated() {
      do { try refuseZeros(in: sql) } catch { throw error.at(index) }
    }
    guard PQenterPipelineMode(pointer) == 1 else { throw lost("the session is not idle") }
    var expected: [Step] = []
    for (index, sql) in statements.enumerated() {
      let (name, isNew) = prepared.name(for: sql)
      if isNew {
        try post(prepare: sql, name: name)
        expected.append(.prepare(index))
      }
      try post(sql, statement: name)
      expected.append(.execute(index))
    }
    guard PQpipelineSync(pointer) == 1 else { throw lost("the statements could not be sent") }

    var cancelling = Cancelling()
    try flush(operation, &cancelling)
    var results: [ResultSet] = []
    var failure: PostgresError?
    for step in expected {
      guard let result = try nextResult(operation, &cancelling) else { throw lost("a result is missing") }
      switch PQresultStatus(result) {
      case PGRES_FATAL_ERROR, PGRES_BAD_RESPONSE:
        failure = failure ?? cancelling.error(for: ServerMessage(result)).at(step.index)
        if case .prepare(let index) = step { prepared.forget(statements[index]) }
        PQclear(result)
        try throwIfFinal(failure)
      case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
        // libpq cannot continue from here: it would return this result again and again.
        PQclear(result)
        close()
        throw PostgresError(.usage("COPY to or from the client needs a call of its own"), statementIndex: step.index)
      case PGRES_PIPELINE_ABORTED:
        if case .prepare(let index) = step { prepared.forget(statements[index]) }
        PQclear(result)
      default:
        if case .execute = step { results.append(ResultSet(owning: result)) } else { PQclear(result) }
      }
      // Each statement's results end with a nil.
      while let extra = try nextResult(operation, &cancelling) { PQclear(extra) }
    }
    guard let sync = try nextResult(operation, &cancelling) else { throw lost("the end of the pipeline is missing") }
    PQclear(sync)
    guard PQexitPipelineMode(pointer) == 1 else { throw lost("the pipeline did not end") }
    try settle(cancelling)
    if let failure, [.invalidStatementName, .featureNotSupported].contains(failure.sqlState),
      let index = failure.statementIndex
    {
      // The server no longer has this statement, or its columns have changed: the next attempt prepares it again. A
      // missing one usually means that all were deallocated.
      if failure.sqlState == .invalidStatementName { prepared.removeAll() } else { prepared.forget(statements[index]) }
    }
    try throwIfFailed(failure)
    return results
  }

  private enum Step {
    case prepare(Int)
    case execute(Int)

    var index: Int {
      switch self {
      case .prepare(let index), .execute(let index): index
      }
    }
  }

  func copyOut(
    _ sql: SQL, _ operation: Operation, onRow: (UnsafeRawBufferPointer) -> Void
  ) throws(PostgresError) -> Int {
    var cancelling = Cancelling()
    try send(sql, statement: nil)
    try flush(operation, &cancelling)
    var rows = 0
    var failure: PostgresError?
    while let result = try nextResult(operation, &cancelling) {
      let status = PQresultStatus(result)
      if status == PGRES_FATAL_ERROR { failure = failure ?? cancelling.error(for: ServerMessage(result)) }
      PQclear(result)
      guard status == PGRES_COPY_OUT else { continue }
      var buffer: UnsafeMutablePointer<CChar>?
      reading: while true {
        let count = PQgetCopyData(pointer, &buffer, 1)
        switch count {
        case 0: try wait(POLLIN, operation, &cancelling)
        case 1...:
          rows += 1
          onRow(UnsafeRawBufferPointer(start: buffer, count: Int(count)))
          PQfreemem(buffer)
        default: break reading
        }
      }
    }
    try settle(cancelling)
    try throwIfFailed(failure)
    return rows
  }

  /// Waits, with nothing running on the server, until the timeout passes or the connection ends.
  func watch(_ operation: Operation) throws(PostgresError) {
    while true {
      guard PQstatus(pointer) == CONNECTION_OK else { throw lost("the connection was lost") }
      if let reason = operation.stop {
        if case .timedOut = reason.kind { return }
        throw reason
      }
      let ready = Self.poll(PQsocket(pointer), Int16(POLLIN), wakeup, until: operation.deadline)
      if ready != 0, PQconsumeInput(pointer) == 0 { throw lost("the connection was lost") }
      // Processes the input: a server that ends the session sends its reason before it closes the connection.
      _ = PQisBusy(pointer)
    }
  }

  /// C strings for the binds in one allocation; none contains a zero byte.
  private func withParameters(
    _ binds: [Bind], _ body: (UnsafeBufferPointer<UnsafePointer<CChar>?>) -> Int32
  ) -> Int32 {
    guard !binds.isEmpty else { return body(UnsafeBufferPointer(start: nil, count: 0)) }
    let size = binds.reduce(0) { $0 + ($1.text.map { $0.utf8.count + 1 } ?? 0) }
    let storage = UnsafeMutablePointer<CChar>.allocate(capacity: max(1, size))
    defer { storage.deallocate() }
    var values: [UnsafePointer<CChar>?] = []
    values.reserveCapacity(binds.count)
    var next = storage
    for bind in binds {
      guard var text = bind.text else {
        values.append(nil)
        continue
      }
      text.withUTF8 { bytes in
        memcpy(next, bytes.baseAddress ?? UnsafePointer(bitPattern: 1)!, bytes.count)
        next[bytes.count] = 0
        values.append(UnsafePointer(next))
        next += bytes.count + 1
      }
    }
    return values.withUnsafeBufferPointer(body)
  }
}

extension PostgresError {
  fileprivate func at(_ index: Int) -> PostgresError { PostgresError(kind, statementIndex: index) }
}

/// The statements this session has prepared, by their text and parameter types.
struct PreparedStatements {
  private var names: [Key: String] = [:]
  private var next = 0

  /// Beyond this many, the session deallocates all of them and starts over.
  static let limit = 500

  private struct Key: Hashable {
    var text: String
    var types: [UInt32]
  }

  var isFull: Bool { names.count >= Self.limit }

  mutating func name(for sql: SQL) -> (name: String, isNew: Bool) {
    let key = Key(text: sql.text, types: sql.binds.map(\.type))
    if let name = names[key] { return (name, false) }
    next += 1
    let name = "tidemark_\(next)"
    names[key] = name
    return (name, true)
  }

  mutating func forget(_ sql: SQL) { names[Key(text: sql.text, types: sql.binds.map(\.type))] = nil }

  mutating func removeAll() { names = [:] }
}
