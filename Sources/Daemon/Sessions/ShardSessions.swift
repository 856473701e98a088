package import Postgres

/// The sessions on which pages are applied: what each of them is given before the first page, and what is taken away between two projections.
package enum ShardSessions {
  package static func prepare(_ session: Session, workMemory: String? = nil) async throws {
    // First: a client that is cut off before it would leave its session behind for hours.
    try await SessionBounds.work.apply(to: session)
    try await lead(session, workMemory: workMemory)
  }

  /// Takes away what a projection's statements left behind, which must not reach another projection. In one script, which is one
  /// transaction: there is no moment at which the session has no bounds.
  static func clean(_ session: Session, workMemory: String? = nil) async throws {
    _ = try await session.script(
      """
      RESET ALL; RESET ROLE; RESET SESSION AUTHORIZATION; \(SessionBounds.work.statements);
      SELECT pg_advisory_unlock_all(); DISCARD TEMP; UNLISTEN *
      """)
    try await lead(session, workMemory: workMemory)
  }

  /// `batch` is found without its schema, and behind everything of the operator's own, so that no table of theirs is hidden. Nothing is
  /// compiled: a statement is planned for each page anew, and the server would compile wide ones each time, for more than that gains.
  private static func lead(_ session: Session, workMemory: String?) async throws {
    try await session.execute(
      """
      SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'tidemark'), false),
             set_config('jit', 'off', false),
             CASE WHEN \(workMemory)::text IS NOT NULL THEN set_config('work_mem', \(workMemory)::text, false) END
      """
    )
  }
}
