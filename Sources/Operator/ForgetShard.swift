import Books
package import EventStore
package import Postgres
import ReadModels

/// Removes all that the database keeps of a shard that the settings no longer declare: tables of an unfinished rebuild, position, state and
/// dead letters. The read model stays.
///
/// - Returns: false where the database knows no such shard.
package func forgetShard(_ shard: String, shape: StoreShape, _ session: Session) async throws -> Bool {
  if let rebuild = try await RebuildTable().read(shard, session), rebuild.schema != nil {
    try await ShadowTables.remove(rebuild, as: .aborted, session)
  }
  return try await ShardTable().forget(shard, shape: shape, session)
}
