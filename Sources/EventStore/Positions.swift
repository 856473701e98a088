package import Postgres
import Rules

/// The positions of shards: rows of `mt_event_progression`, with Marten's names and Marten's meaning.
///
/// `tidemark_internal.begin_page` moves a position, inside the page's transaction; everything else about positions is here.
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

  /// The number of the first event after `sequence`, `Int64.max` if there is none: for a page without events, so that the next one crosses
  /// the numbers that no event has.
  package func nextEvent(after sequence: Int64) -> SQL {
    "SELECT coalesce(min(seq_id), 9223372036854775807) FROM \(raw: shape.store).mt_events WHERE seq_id > \(sequence)"
  }

  /// Where a shard continues: its position, once any page in progress has ended. The shard's previous node may be dead while the server
  /// still executes its last commit; a page that began from the position before that commit would find the position moved.
  ///
  /// Removes dead letters above the position: the shard was set back, and a page will apply their events again. A writer of a letter
  /// holds the position's lock, with the position at or above the letter, so under that lock every letter above it is outdated.
  ///
  /// - Parameters:
  ///   - first: the position for a shard that has none yet.
  ///   - claim: runs before the shard gets it, in the same transaction; throws if it must not begin.
  /// - Returns: nil if it has none and `first` is nil too.
  package func begin(
    _ shard: String, at first: Int64? = nil, _ session: Session,
    claim: @Sendable (isolated Session) async throws -> Void = { _ in }
  ) async throws -> (position: Int64, removedLetters: Int)? {
    try await session.transaction { [self] session in
      if let first {
        try await claim(session)
        // Unless another node has just given it one. Rebuilds need the first position later.
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

  /// Like ``read(_:_:)``, but locks the position: until the end of the transaction the shard applies nothing. Waits for its current page.
  package func lock(_ shard: String, _ session: isolated Session) async throws -> Int64? {
    try await session.execute(
      "SELECT coalesce(last_seq_id, 0) FROM \(raw: shape.store).mt_event_progression WHERE name = \(shard) FOR UPDATE"
    ).rows.first?.get(0, as: Int64.self)
  }

  /// The shard's first position, or nil if it is not on record.
  package func first(_ shard: String, _ session: Session) async throws -> Int64? {
    let rows = try await session.execute("SELECT first_position FROM tidemark.shard WHERE name = \(shard)").rows
    return try rows.first?.get(0, as: Int64?.self)
  }

  /// The position that precedes every event at or after `time`; nil if there is no such event yet.
  package func before(time: String, _ session: Session) async throws -> Int64? {
    let row = try await session.execute(
      """
      SELECT min(seq_id) - 1 AS position FROM \(raw: shape.store).mt_events
       WHERE "timestamp" >= \(time)::timestamptz
      """
    ).rows[0]
    return try row.get("position", as: Int64?.self)
  }

  /// Tells a shard's row from those of Marten's own high-water mark, which may have one for each tenant.
  package static var isShard: SQL {
    "NOT (name = ANY (\(ShardName.reserved)::text[]) OR starts_with(name, 'HighWaterMark:'))"
  }

  /// Every position by shard name, without the rows that are not shards.
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
