package import EventStore
package import Postgres
package import Rules

/// Programs other than our nodes that hold a leader's lock of ours: a host that runs a projection of the same name.
package struct ForeignLeaders: Sendable {
  package let shape: StoreShape
  /// Whether one lock covers all shards of the database, as where the settings have several databases.
  package let shareOneLock: Bool

  package init(_ shape: StoreShape, shareOneLock: Bool) {
    self.shape = shape
    self.shareOneLock = shareOneLock
  }

  /// Who leads each of the shards, in words; without those that one of our nodes leads, or no program.
  package func find(_ shards: [String], _ session: Session) async throws -> [String: String] {
    let keys = shards.map { shareOneLock ? LeaderLock.databaseKey : LeaderLock.key(schema: shape.schema, shard: $0) }
    let rows = try await session.execute(
      """
      WITH held AS (
          SELECT l.pid, l.classid::bigint << 32 | l.objid::bigint AS key FROM pg_catalog.pg_locks AS l
           WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
             AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()))
      SELECT k.shard, coalesce(\(raw: LockHolder.words), 'pid ' || held.pid) AS who
        FROM unnest(\(shards)::text[], \(keys)::bigint[]) AS k (shard, key)
        JOIN held ON held.key = k.key
        LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = held.pid
       WHERE NOT EXISTS (SELECT FROM held AS own JOIN tidemark.node AS n ON n.lock_key = own.key WHERE own.pid = held.pid)
      """
    ).rows
    return try rows.reduce(into: [:]) { all, row in
      all[try row.get("shard", as: String.self)] = try row.get("who", as: String.self)
    }
  }

  /// - Throws: ``Problem`` if one leads the shard: it would apply events to the tables, or move the position, during a rebuild.
  package func refuse(_ shard: ShardName, _ session: Session) async throws {
    guard let leader = try await find(["\(shard)"], session)["\(shard)"] else { return }
    throw Problem(
      .rebuild(.otherLeader), "another program leads \(shard): \(leader)",
      hint:
        "Stop the host that runs a projection of this name, then run `tidemark rebuild \(shard.projection)` again.")
  }
}
