import Postgres

// A session remembers more than its settings: plans of statements and functions, types, roles. What an operator changes meanwhile can make
// a statement fail in a session that began before, and in no other. So a failure of a definition is believed only on a new session.

extension SessionPool {
  /// Lends a session for a page. If the page fails as if its statements were wrong, on a session in which they have worked, it is tried
  /// once more at once, on a new one; the position of a page that failed has not moved.
  func withPageSession<T: Sendable>(
    for key: String, unlessStopped: Bool = false, _ body: @Sendable (Session) async throws -> T
  ) async throws -> T {
    do {
      return try await withSession(for: key, unlessStopped: unlessStopped) { session in
        do {
          let value = try await body(session)
          await session.serves(key)
          return value
        } catch let failure as PageFailure where failure.mayBeOfSession {
          guard await session.hasServed(key) else { throw failure }
          await session.close()
          throw Doubt()
        }
      }
    } catch is Doubt {
      return try await withSession(for: key, unlessStopped: unlessStopped, isNew: true, body)
    }
  }
}

private struct Doubt: Error {}
