package import Postgres
package import Rules

/// Finds out whether a pooler in transaction mode shares a session: then any free session of the server runs each statement.
///
/// Locks would stay behind in all of them. The proof of the high-water mark also needs a session that ends when the server does, and such
/// a pooler hides that.
package struct PoolerCheck: Sendable {
  let options: ConnectionOptions

  package init(options: ConnectionOptions) {
    var options = options
    options.pins = .ifDirect
    self.options = options
  }

  /// Opens a session with the search path and the settings of our own, unless a pooler shares it: then others would get them with their next
  /// transaction.
  ///
  /// - Throws: `refusal` if it is shared.
  package func connect(threadName: String, orThrow refusal: Problem) async throws -> Session {
    let session = try await Session.connect(options, threadName: threadName)
    guard !session.isDirect else { return session }
    do {
      if try await isShared(session) { throw refusal }
      try await session.script(ServerSettings.pin)
      return session
    } catch {
      await session.close()
      throw error
    }
  }

  package static let refusal = Problem(
    .store(.pooled),
    "database.url leads to a pooler in transaction mode, which gives the daemon no session of its own and hides a crash of the server",
    hint:
      "Give the daemon its own pooler entry with pool_mode = session, or a direct connection. The entry's pool_size limits the daemon's connections."
  )

  /// How long to wait for a second session of the pooler.
  private static let patience = Duration.seconds(3)

  /// A pooler gives itself away by its process number, which is not the server's. In session mode it is harmless. So a second session asks
  /// for a backend: in transaction mode it gets the one that the first session just used, or the first session gets another one.
  func isShared(_ session: Session) async throws -> Bool {
    guard !session.isDirect else { return false }
    let backend = try await Self.backend(session)
    let other = try await Session.connect(options, threadName: "probe")
    return try await other.closing { other in
      for _ in 1...5 {
        do {
          _ = try await other.script("BEGIN", timeout: Self.patience)
          let others = try await Self.backend(other)
          if others == backend { return true }
          if try await Self.backend(session) != backend { return true }
          _ = try await other.script("ROLLBACK")
        } catch let error as PostgresError where error.kind == .timedOut(Self.patience) {
          // No backend is free, so the first session has one of its own.
          return false
        }
      }
      return false
    }
  }

  /// The server's process that runs the session's statement.
  static func backend(_ session: Session) async throws -> Int32 {
    try await session.execute("SELECT pg_catalog.pg_backend_pid()").rows[0].get(0, as: Int32.self)
  }
}
