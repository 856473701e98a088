import Postgres

/// Whether a session is one: behind a pooler in transaction mode each statement gets whatever session of the server is free.
///
/// Locks would stay behind in all of them. And the proof of the high-water mark rests on a session that ends when the server does, which
/// such a pooler hides.
struct PoolerCheck: Sendable {
  var options: ConnectionOptions

  /// Longest to wait for a second session of the pooler's.
  private static let patience = Duration.seconds(3)

  /// A pooler shows by the number it gives for the server's process, which is not the server's. In session mode it does no harm. So a
  /// second session asks for a backend: in transaction mode it gets the one that the first has just used, or the first gets another.
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
          // Nothing is free, so what the first session has is its own.
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
