import Postgres

/// Finds out whether a pooler in transaction mode shares a session: then any free session of the server runs each statement.
///
/// Locks would stay behind in all of them. The proof of the high-water mark also needs a session that ends when the server does, and such
/// a pooler hides that.
struct PoolerCheck: Sendable {
  var options: ConnectionOptions

  /// How long to wait for a second session of the pooler.
  private static let patience = Duration.seconds(3)

  /// A pooler gives itself away by its process number, which is not the server's. In session mode it is harmless. So a second session asks
  /// for a backend: in transaction mode it gets the one that the first session just used, or the first session gets another one.
  func isShared(_ session: Session) async throws -> Bool {
    let backend = try await Self.backend(session)
    guard backend != session.processID else { return false }
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
    try await session.execute("SELECT pg_backend_pid()").rows[0].get(0, as: Int32.self)
  }
}
