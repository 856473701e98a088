package import Postgres
import Rules

/// The positions of shards: rows of `mt_event_progression`, with Marten's names and Marten's meaning.
///
/// The move itself is `tidemark_internal.begin_page`, inside the page's transaction; here is what comes before and around it.
package struct Positions: Sendable {
  package let shape: StoreShape

  package init(_ shape: StoreShape) { self.shape = shape }

  /// The shard's position, or nil before it first runs.
  package func read(_ shard: String, _ session: Session) async throws -> Int64? {
    let rows = try await session.prepared(
      "SELECT last_seq_id FROM \(raw: shape.store).mt_event_progression WHERE name = \(shard)"
    ).rows
    return try rows.first.map { try $0.get("last_seq_id", as: Int64?.self) ?? 0 }
  }

  /// Where a shard goes on: at its position, after whatever page is under way has ended. Whoever ran the shard before may be dead, and the
  /// server still busy with the commit that was sent last; a page begun from the position before it would find the position moved.
  ///
  /// Dead letters above the position are removed: somebody set the shard back, and a page will meet their events again. Whoever writes a
  /// letter holds the position's lock and has the position at or above it, so under that lock none is removed that belongs there.
  ///
  /// - Parameter first: the position of a shard that has none yet.
  /// - Returns: nil where it has none and `first` is none either.
  package func begin(
    _ shard: String, at first: Int64? = nil, _ session: Session
  ) async throws -> (position: Int64, removedLetters: Int)? {
    try await session.transaction { [self] session in
      if let first {
        // Unless somebody else has just given it one. It is remembered for rebuilds.
        try await session.execute(
          """
          WITH started AS (
              INSERT INTO \(raw: shape.store).mt_event_progression (name, last_seq_id) VALUES (\(shard), \(first))
              ON CONFLICT (name) DO NOTHING RETURNING name)
          INSERT INTO tidemark.shard AS s (name, first_position) SELECT name, \(first) FROM started
          ON CONFLICT (name) DO UPDATE SET first_position = excluded.first_position
          """)
      }
      guard let position = try await lock(shard, session) else { return nil }
      let removed = try await session.execute(
        "DELETE FROM tidemark.dead_letter WHERE shard = \(shard) AND seq_id > \(position)")
      return (position, removed.affectedRows)
    }
  }

  /// The same as ``read(_:_:)``, locked: to the end of the transaction the shard applies nothing. Waits for its page.
  package func lock(_ shard: String, _ session: isolated Session) async throws -> Int64? {
    try await session.execute(
      "SELECT coalesce(last_seq_id, 0) FROM \(raw: shape.store).mt_event_progression WHERE name = \(shard) FOR UPDATE"
    ).rows.first?.get(0, as: Int64.self)
  }

  /// The first position that the shard was given, or nil where nobody remembers.
  package func first(_ shard: String, _ session: Session) async throws -> Int64? {
    let rows = try await session.execute("SELECT first_position FROM tidemark.shard WHERE name = \(shard)").rows
    return try rows.first?.get(0, as: Int64?.self)
  }

  /// The position after which every event at or after `time` comes; nil where there is no such event yet.
  package func before(time: String, _ session: Session) async throws -> Int64? {
    let row = try await session.execute(
      """
      SELECT min(seq_id) - 1 AS position FROM \(raw: shape.store).mt_events
       WHERE "timestamp" >= \(time)::timestamptz
      """
    ).rows[0]
    return try row.get("position", as: Int64?.self)
  }

  /// What tells a shard's row from those that Marten keeps for its own high-water mark, one of them for each tenant.
  package static var isShard: SQL {
    "NOT (name = ANY (\(ShardName.reserved)::text[]) OR starts_with(name, 'HighWaterMark:'))"
  }

  /// Every position by shard name; rows that are not shards are left out.
  package func all(_ session: Session) async throws -> [String: Int64] {
    let rows = try await session.execute(
      """
      SELECT name, coalesce(last_seq_id, 0) AS position FROM \(raw: shape.store).mt_event_progression
       WHERE \(Self.isShard)
      """
    ).rows
    return try rows.reduce(into: [:]) { all, row in
      all[try row.get("name", as: String.self)] = try row.get("position", as: Int64.self)
    }
  }
}
