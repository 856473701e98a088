import Books
package import EventStore
package import Postgres
import ReadModels
package import Rules

/// A shard that the settings no longer declare: its position, state, dead letters and the record of its tables are in the database still.
package struct FormerShard: Sendable {
  package let name: String
  package let shape: StoreShape

  package init(_ name: String, shape: StoreShape) {
    self.name = name
    self.shape = shape
  }

  /// How long a node may take to end a shard that a reload has removed.
  private static let patience = Duration.seconds(10)

  /// Removes it: the tables of an unfinished rebuild, its position, state and dead letters. The read model stays.
  ///
  /// - Returns: the tables of the read model that exist, qualified; nil if the database has no such shard.
  package func forget(_ session: Session) async throws -> [String]? {
    try await untilEnded(session)
    let tables = try await ShardTable().tables(of: name, session)
    try await removeNewTables(session)
    return try await ShardTable().forget(name, shape: shape, session) ? tables : nil
  }

  /// Gives its position, dead letters and tables to another name.
  ///
  /// - Returns: the position.
  package func move(to new: ShardName, _ session: Session) async throws -> Int64 {
    try await untilEnded(session)
    if let rebuild = try await RebuildTable().read(name, session), rebuild.isHalfDone, rebuild.schema == nil {
      throw Problem(
        "a rebuild of \(name) is unfinished, at \(rebuild.position)",
        hint: "Put the old name back into the settings, let the rebuild end, and rename the projection then.")
    }
    try await removeNewTables(session)
    return try await ShardTable().move(name, to: "\(new)", shape: shape, session)
  }

  private func removeNewTables(_ session: Session) async throws {
    guard let rebuild = try await RebuildTable().read(name, session), rebuild.schema != nil else { return }
    try await ShadowTables.remove(rebuild, as: .aborted, session)
  }

  /// - Throws: ``Problem`` if a node runs it.
  private func untilEnded(_ session: Session) async throws {
    let deadline = ContinuousClock.now + Self.patience
    while let node = try await ShardTable().node(of: name, session) {
      guard ContinuousClock.now < deadline else {
        throw Problem(
          "\(node) runs \(name)", hint: "Remove it from the settings of that node and reload its service first.")
      }
      try await Task.sleep(for: .milliseconds(100))
    }
  }
}
