package import Postgres

/// The setup of sessions that apply pages: before the first page, and between the pages of two projections.
package enum ShardSessions {
  package static func prepare(_ session: Session, workMemory: String? = nil) async throws {
    _ = try await session.script("\(SessionBounds.work.statements); \(own(workMemory))")
  }

  /// Removes what a projection's statements left in the session, so that it does not reach another projection. One script is one
  /// transaction, so the session never lacks its bounds.
  static func clean(_ session: Session, workMemory: String? = nil) async throws {
    _ = try await session.script(
      """
      RESET ALL; RESET ROLE; RESET SESSION AUTHORIZATION; \(SessionBounds.work.statements); \(own(workMemory));
      SELECT pg_advisory_unlock_all(); DISCARD TEMP; UNLISTEN *
      """)
  }

  /// Without JIT: each page plans its statements again, and compiling wide ones each time costs more than it gains.
  private static func own(_ workMemory: String?) -> String {
    "SET jit = off" + (workMemory.map { "; SET work_mem = \(SQL.quoted(literal: $0))" } ?? "")
  }
}
