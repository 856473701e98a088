import Books
package import EventStore
package import Postgres
import ReadModels

/// Removes a shard that the settings no longer declare from the database: the tables of an unfinished rebuild, its position, state and dead
/// letters. The read model stays.
///
/// - Returns: false if the database has no such shard.
package func forgetShard(_ shard: String, shape: StoreShape, _ session: Session) async throws -> Bool {
  if let rebuild = try await RebuildTable().read(shard, session), rebuild.schema != nil {
    try await ShadowTables.remove(rebuild, as: .aborted, session)
  }
  return try await ShardTable().forget(shard, shape: shape, session)
}
