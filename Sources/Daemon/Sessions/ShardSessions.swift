package import Postgres

/// The setup of sessions that apply pages: before the first page, and between the pages of two projections.
package enum ShardSessions {
  package static func prepare(_ session: Session, workMemory: String? = nil) async throws {
    // Must be first: a client that is cut off before it would leave its session behind for hours.
    try await SessionBounds.work.apply(to: session)
    try await lead(session, workMemory: workMemory)
  }

  /// Removes what a projection's statements left in the session, so that it does not reach another projection. One script is one
  /// transaction, so the session never lacks its bounds.
  static func clean(_ session: Session, workMemory: String? = nil) async throws {
    _ = try await session.script(
      """
      RESET ALL; \(ServerSettings.pin); RESET ROLE; RESET SESSION AUTHORIZATION; \(SessionBounds.work.statements);
      SELECT pg_advisory_unlock_all(); DISCARD TEMP; UNLISTEN *
      """)
    try await lead(session, workMemory: workMemory)
  }

  /// Turns JIT off: each page plans its statements again, and compiling wide ones each time costs more than it gains.
  private static func lead(_ session: Session, workMemory: String?) async throws {
    try await session.execute(
      """
      SELECT set_config('jit', 'off', false),
             CASE WHEN \(workMemory)::text IS NOT NULL THEN set_config('work_mem', \(workMemory)::text, false) END
      """
    )
  }
}
