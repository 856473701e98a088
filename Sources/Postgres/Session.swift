import CLibpq

/// One session on a server: statements, pipelines, transactions and COPY, on a thread of its own.
///
/// Cancelling the Swift task that waits for a statement cancels that statement on the server, and never another one;
/// see ``Operation``. A statement that completed before the cancel arrived returns its result.
package actor Session {
  private let thread: SessionThread
  let connection: Connection
  private var prepared = PreparedStatements()
  /// Those whose statements have worked in this session, so that the server may have kept plans of them.
  private var users: Set<String> = []
  /// Results of questions that were asked ahead, each for one use.
  private var answers: [SQL: ResultSet] = [:]

  /// Measured after connecting: a crash of the server after this moment ends the session.
  package nonisolated let openedAt: ContinuousClock.Instant
  /// The version in libpq's form: 150018 is 15.18.
  package nonisolated let serverVersion: Int
  /// The pid of the server process for this session.
  package nonisolated let processID: Int32
  /// The search path that role, database or connection string had set when the session was opened.
  package nonisolated let operatorPath: SearchPath
  /// No pooler stands between this process and the server.
  package nonisolated let isDirect: Bool

  package nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  /// False once the connection is known to be lost, or was closed.
  package nonisolated var isOpen: Bool { connection.isOpen }

  private init(thread: SessionThread, connection: Connection, _ beginning: Connection.Beginning) {
    self.thread = thread
    operatorPath = beginning.operatorPath
    isDirect = beginning.isDirect
    self.connection = connection
    openedAt = .now
    serverVersion = Int(PQserverVersion(connection.pointer))
    processID = PQbackendPID(connection.pointer)
  }

  deinit { thread.end() }

  /// Connects within the options' timeout.
  ///
  /// - Parameter threadName: for `ps -L`; Linux keeps the first 15 bytes.
  /// - Throws: a usage error for an unreadable connection string, a connection error for the rest.
  package static func connect(
    _ options: ConnectionOptions, threadName: String = "session", onNotice: (@Sendable (ServerMessage) -> Void)? = nil
  ) async throws(PostgresError) -> Session {
    let given = try options.parsed()
    let timeout = given["connect_timeout"].flatMap { Int($0) }.map { Duration.seconds($0) } ?? options.connectTimeout
    let attempts = try options.attempts()
    guard let wakeup = Wakeup() else { throw PostgresError(.connection(Self.noDescriptor)) }
    guard let thread = SessionThread(name: threadName) else { throw PostgresError(.connection(Self.noThread)) }
    let connector = Connector(thread: thread)
    var failures: [(attempt: ConnectionOptions.Attempt, error: PostgresError)] = []
    for attempt in attempts {
      let operation = Operation(wakeup, timeout: timeout > .zero ? timeout : nil)
      let result = await withTaskCancellationHandler {
        await connector.connect(options, attempt, operation, wakeup, onNotice)
      } onCancel: {
        operation.cancel()
      }
      switch result {
      case .success(let (connection, beginning)):
        return Session(thread: thread, connection: connection, beginning)
      case .failure(let error): failures.append((attempt, error))
      }
      if failures.last?.error.isCancelled == true { break }
    }
    thread.end()
    throw PostgresError(ofAttempts: failures)
  }

  private static let noThread =
    "the system has no thread left for a session: raise TasksMax= of the unit, the container's limit of pids, or ulimit -u"
  private static let noDescriptor =
    "the process has no file descriptor left for a session: raise LimitNOFILE= of the unit, or ulimit -n"

  /// Connects on the session's thread, before there is a session.
  private actor Connector {
    let thread: SessionThread
    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    init(thread: SessionThread) { self.thread = thread }

    func connect(
      _ options: ConnectionOptions, _ attempt: ConnectionOptions.Attempt, _ operation: Operation, _ wakeup: Wakeup,
      _ onNotice: (@Sendable (ServerMessage) -> Void)?
    ) -> Result<(Connection, Connection.Beginning), PostgresError> {
      Result { () throws(PostgresError) in
        let connection = try Connection(options, attempt, operation: operation, wakeup: wakeup, onNotice: onNotice)
        do throws(PostgresError) {
          return (connection, try connection.begin(options.pins, operation))
        } catch {
          connection.close()
          // The time was that for connecting.
          if case .timedOut(let limit) = error.kind { throw PostgresError(.connection("no answer within \(limit)")) }
          throw error
        }
      }
    }
  }

  /// Runs the body and closes the session, however the body ends.
  package nonisolated func closing<T>(_ body: (Session) async throws -> T) async throws -> T {
    do {
      let value = try await body(self)
      await close()
      return value
    } catch {
      await close()
      throw error
    }
  }

  /// Ends the session. Safe to repeat.
  package func close() { connection.close() }

  package var transactionStatus: TransactionStatus {
    guard isOpen else { return .unknown }
    return switch PQtransactionStatus(connection.pointer) {
    case PQTRANS_IDLE: .idle
    case PQTRANS_ACTIVE: .active
    case PQTRANS_INTRANS: .inTransaction
    case PQTRANS_INERROR: .failed
    default: .unknown
    }
  }

  package enum TransactionStatus: Sendable { case idle, active, inTransaction, failed, unknown }

  // MARK: Statements

  /// Runs one statement with its binds.
  ///
  /// - Parameter timeout: the longest wait, after which the statement is cancelled on the server; nil sets no limit.
  @discardableResult
  package func execute(_ sql: SQL, timeout: Duration? = nil) async throws(PostgresError) -> ResultSet {
    if !answers.isEmpty, let answer = answers.removeValue(forKey: sql) { return answer }
    return try await perform(timeout) { operation throws(PostgresError) in
      try self.connection.send(sql, statement: nil)
      return try self.connection.results(operation).last!
    }
  }

  /// Runs one statement as a prepared statement, which the session makes on the first use of the text.
  @discardableResult
  package func prepared(_ sql: SQL, timeout: Duration? = nil) async throws(PostgresError) -> ResultSet {
    try await pipeline([sql], timeout: timeout)[0]
  }

  /// Runs several statements without binds, as `psql -c` would. Outside a transaction they form one.
  @discardableResult
  package func script(_ text: String, timeout: Duration? = nil) async throws(PostgresError) -> [ResultSet] {
    try await perform(timeout) { operation throws(PostgresError) in
      try self.connection.send(script: text)
      return try self.connection.results(operation)
    }
  }

  /// Sends all statements, as prepared statements, and returns all results in one round trip.
  ///
  /// Without BEGIN and COMMIT among them they are one implicit transaction.
  /// - Throws: the first error, with the index of its statement; the statements after it were not run. A transaction
  ///   begun with BEGIN has then failed, and the caller has to roll it back.
  package func pipeline(_ statements: [SQL], timeout: Duration? = nil) async throws(PostgresError) -> [ResultSet] {
    if prepared.isFull && transactionStatus == .idle {
      try await script("DEALLOCATE ALL")
      prepared.removeAll()
    }
    return try await perform(timeout) { operation throws(PostgresError) in
      try self.connection.pipeline(statements, &self.prepared, operation)
    }
  }

  /// Asks several questions in one round trip, before code that asks each by ``execute(_:timeout:)``, which then has its answer: over a
  /// distance a start would otherwise cost as many round trips as it has looks. Outside a transaction, and for statements that only read.
  ///
  /// If one fails, each is asked when its turn comes, and fails where it is understood.
  package func ask(ahead questions: [SQL]) async {
    answers = [:]
    guard questions.count > 1, let results = try? await pipeline(questions) else { return rollBack() }
    answers = Dictionary(zip(questions, results)) { first, _ in first }
  }

  /// Forgets what was asked ahead and not used.
  package func forgetAnswers() { answers = [:] }

  /// The name of the prepared statement for this text, for `EXECUTE` in SQL; a new text is prepared first.
  package func preparedName(for sql: SQL) async throws(PostgresError) -> String {
    let (name, isNew) = prepared.name(for: sql)
    guard isNew else { return name }
    do {
      try await prepare(sql, name: name)
    } catch {
      prepared.forget(sql)
      throw error
    }
    return name
  }

  /// Prepares a statement under a name without running it. The caller deallocates it.
  package func prepare(_ sql: SQL, name: String) async throws(PostgresError) {
    _ = try await perform(nil) { operation throws(PostgresError) in
      try self.connection.send(prepare: sql, name: name)
      return try self.connection.results(operation).count
    }
  }

  package func hasServed(_ user: String) -> Bool { users.contains(user) }

  package func serves(_ user: String) { users.insert(user) }

  // MARK: Transactions

  /// Runs the body between BEGIN and COMMIT; on any error it rolls back and rethrows.
  ///
  /// Inside, call the session that is passed in: its methods do not leave its thread.
  package func transaction<T: Sendable>(_ body: @Sendable (isolated Session) async throws -> T) async throws -> T {
    // Set explicitly, since role or database may have other defaults: a proof by locks needs each statement to see what
    // committed before it.
    try await script("BEGIN ISOLATION LEVEL READ COMMITTED")
    do {
      let value = try await body(self)
      let ended = try await script("COMMIT").last
      guard ended?.commandTag == "COMMIT" else {
        throw PostgresError(.usage("a statement of the transaction had failed, so the server rolled it back"))
      }
      return value
    } catch {
      rollBack()
      throw error
    }
  }

  /// Rolls back an open transaction, even in a cancelled task. A session that does not answer is closed, which rolls
  /// back too.
  package func rollBack() {
    guard isOpen, transactionStatus != .idle else { return }
    do throws(PostgresError) {
      let operation = Operation(nil, timeout: Connection.drainLimit)
      try connection.send(script: "ROLLBACK")
      _ = try connection.results(operation)
    } catch {
      close()
    }
  }

  // MARK: COPY

  /// Runs `COPY … TO STDOUT` and passes each row's bytes to `onRow`, valid during the call only; memory does not grow
  /// with the rows.
  ///
  /// Returns the number of rows. An error from `onRow` cancels the statement and is rethrown.
  @discardableResult
  package func copyOut(
    _ sql: SQL, timeout: Duration? = nil, onRow: @Sendable (UnsafeRawBufferPointer) throws -> Void
  ) async throws -> Int {
    var failure: (any Error)?
    let rows = await result(timeout) { operation throws(PostgresError) in
      try self.connection.copyOut(sql, operation) { bytes in
        guard failure == nil else { return }
        do { try onRow(bytes) } catch {
          failure = error
          operation.cancelFromWithin()
        }
      }
    }
    if let failure { throw failure }
    return try rows.get()
  }

  // MARK: Watching

  /// Waits for a duration, and throws at once if the session ends meanwhile: an administrator ended it, the server
  /// stopped, or TCP gave up the connection.
  ///
  /// Nothing runs on the server, unlike with `pg_sleep`, whose snapshot would prevent vacuum from removing dead rows in
  /// the whole database.
  package func watch(for duration: Duration) async throws(PostgresError) {
    try await perform(duration) { operation throws(PostgresError) in try self.connection.watch(operation) }
  }

  // MARK: The one way in

  /// Runs the body on this thread as one operation, which ends early if the current task is cancelled or the timeout
  /// passes.
  private func perform<T: Sendable>(
    _ timeout: Duration?, _ body: (Operation) throws(PostgresError) -> T
  ) async throws(PostgresError) -> T {
    try await result(timeout, body).get()
  }

  private func result<T: Sendable>(
    _ timeout: Duration?, _ body: (Operation) throws(PostgresError) -> T
  ) async -> Result<T, PostgresError> {
    guard isOpen else { return .failure(PostgresError(.connection("the session is closed"))) }
    let operation = Operation(connection.wakeup, timeout: timeout)
    return await withTaskCancellationHandler {
      // Call a method of the actor, not `body` itself: a closure that does not mention `self` would run on, and block,
      // a pool thread.
      self.run(body, as: operation)
    } onCancel: {
      operation.cancel()
    }
  }

  private func run<T>(_ body: (Operation) throws(PostgresError) -> T, as operation: Operation) -> Result<
    T, PostgresError
  > {
    guard !operation.isCancelled else { return .failure(PostgresError(.cancelled)) }
    return Result { () throws(PostgresError) in try body(operation) }
  }
}
