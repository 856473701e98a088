package import Postgres

/// The lock of the session that works on the rebuild of a shard: an advisory lock, which ends with the session.
package enum RebuildLock {
  /// Does not wait; returns false if another session has it.
  package static func take(_ shard: String, _ session: Session) async throws -> Bool {
    try await session.execute("SELECT pg_try_advisory_lock(\(AdvisoryLocks.rebuild(shard)))").rows[0].get(
      0, as: Bool.self)
  }

  /// Whether another session has it.
  package static func isHeld(_ shard: String, _ session: Session) async throws -> Bool {
    guard try await take(shard, session) else { return true }
    try await release(shard, session)
    return false
  }

  package static func release(_ shard: String, _ session: Session) async throws {
    try await session.execute("SELECT pg_advisory_unlock(\(AdvisoryLocks.rebuild(shard)))")
  }
}
