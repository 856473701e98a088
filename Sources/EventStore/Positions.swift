package import Postgres
package import Rules

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
  /// - Returns: nil if it needs a first position and `first` is nil.
  /// - Throws: ``Problem`` if another program moved the position.
  package func begin(
    _ shard: String, at first: Int64? = nil, _ session: Session,
    claim: @Sendable (isolated Session, Continuity) async throws -> Void = { _, _ in }
  ) async throws -> (position: Int64, removedLetters: Int)? {
    try await session.transaction { [self] session in
      if let first {
        try await claim(session, try await continuity(of: shard, session))
        try await begin(shard, first, session)
      }
      let continuity = try await continuity(of: shard, session)
      if let problem = continuity.problem(shard) { throw problem }
      guard let position = continuity.position else { return nil }
      let removed = try await session.execute(
        "DELETE FROM tidemark.dead_letter WHERE shard = \(shard) AND seq_id > \(position) RETURNING seq_id")
      let sequences = try removed.rows.map { try $0.get("seq_id", as: Int64.self) }
      if !sequences.isEmpty {
        for statement in LetterDocuments(shape).remove(sequences, shard: shard) { try await session.execute(statement) }
      }
      return (position, sequences.count)
    }
  }

  /// Gives a shard its first position, unless it has one meanwhile. Rebuilds need it later.
  private func begin(_ shard: String, _ first: Int64, _ session: isolated Session) async throws {
    let row: Int64?
    switch try await continuity(of: shard, session) {
    case .adopted, .same, .moved: return
    case .new, .gone: row = nil
    case .stale(let found): row = found
    }
    try await session.execute(
      """
      WITH started AS (
          INSERT INTO \(raw: shape.store).mt_event_progression AS p (name, last_seq_id) VALUES (\(shard), \(first))
          ON CONFLICT (name) DO UPDATE SET last_seq_id = excluded.last_seq_id, last_updated = transaction_timestamp()
           WHERE coalesce(p.last_seq_id, 0) = \(row)::bigint
          RETURNING name),
      recorded AS (
          INSERT INTO tidemark.position (shard, last_seq_id) SELECT name, \(first) FROM started
          ON CONFLICT (shard) DO UPDATE SET last_seq_id = excluded.last_seq_id, is_stale = false)
      INSERT INTO tidemark.shard AS s (name, first_position) SELECT name, \(first) FROM started
      ON CONFLICT (name) DO UPDATE SET first_position = excluded.first_position
      """)
  }

  /// Whether the position is where Tidemark left it. Locks it, as ``lock(_:_:)`` does.
  package func continuity(of shard: String, _ session: isolated Session) async throws -> Continuity {
    // In one round trip; the second statement sees what committed while the first waited.
    let found = try await session.pipeline([lock(shard), record(of: shard)])
    return Continuity(row: try Self.position(found[0]), record: try Self.record(found[1]))
  }

  /// Where Tidemark left the shard; nil if nothing is on record.
  package func record(of shard: String, _ session: Session) async throws -> Continuity.Record? {
    try Self.record(try await session.execute(record(of: shard)))
  }

  private func record(of shard: String) -> SQL {
    "SELECT last_seq_id, is_stale FROM tidemark.position WHERE shard = \(shard)"
  }

  private static func record(_ found: ResultSet) throws -> Continuity.Record? {
    try found.rows.first.map {
      Continuity.Record(try $0.get("last_seq_id", as: Int64.self), isStale: try $0.get("is_stale", as: Bool.self))
    }
  }

  /// Writes a position that an operator has chosen, and records it.
  package func write(_ position: Int64, of shard: String, _ session: isolated Session) async throws {
    try await session.execute(
      """
      INSERT INTO \(raw: shape.store).mt_event_progression (name, last_seq_id) VALUES (\(shard), \(position))
      ON CONFLICT (name) DO UPDATE SET last_seq_id = excluded.last_seq_id, last_updated = transaction_timestamp()
      """)
    try await session.execute(Self.record(position, of: shard))
  }

  /// Gives a shard whose record is of an earlier era a position at which a rebuild can end. The record says so until it has ended.
  package func begin(_ shard: String, inNewEraAt position: Int64, _ session: isolated Session) async throws {
    try await session.execute(
      """
      INSERT INTO \(raw: shape.store).mt_event_progression (name, last_seq_id) VALUES (\(shard), \(position))
      ON CONFLICT (name) DO UPDATE SET last_seq_id = excluded.last_seq_id, last_updated = transaction_timestamp()
      """)
    // Whatever it began after is gone.
    try await session.execute("UPDATE tidemark.shard SET first_position = 0 WHERE name = \(shard)")
  }

  /// The statement that records a position that Tidemark brings a shard to, in the transaction that does so.
  package static func record(_ position: Int64, of shard: String) -> SQL {
    """
    INSERT INTO tidemark.position (shard, last_seq_id) VALUES (\(shard), \(position))
    ON CONFLICT (shard) DO UPDATE SET last_seq_id = excluded.last_seq_id, is_stale = false
    """
  }

  /// Whether the position is where Tidemark left it, at one moment and without a lock.
  package func look(_ shard: String, _ session: Session) async throws -> Continuity {
    let row = try await session.prepared(
      """
      SELECT p.name IS NOT NULL AS has_row, coalesce(p.last_seq_id, 0) AS row, o.last_seq_id AS record, o.is_stale
        FROM (SELECT \(shard)::text AS name) AS s
        LEFT JOIN \(raw: shape.store).mt_event_progression AS p ON p.name = s.name
        LEFT JOIN tidemark.position AS o ON o.shard = s.name
      """
    ).rows[0]
    let record = try row.get("record", as: Int64?.self)
    let isStale = try row.get("is_stale", as: Bool?.self) ?? false
    return Continuity(
      row: try row.get("has_row", as: Bool.self) ? try row.get("row", as: Int64.self) : nil,
      record: record.map { Continuity.Record($0, isStale: isStale) })
  }

  /// Records a position that another program, or one from before the record, brought the shard to.
  package func adopt(_ position: Int64, of shard: String, _ session: Session) async throws {
    try await session.execute(
      "INSERT INTO tidemark.position (shard, last_seq_id) VALUES (\(shard), \(position)) ON CONFLICT DO NOTHING")
  }

  /// Like ``read(_:_:)``, but locks the position: until the end of the transaction the shard applies nothing. Waits for its current page.
  package func lock(_ shard: String, _ session: isolated Session) async throws -> Int64? {
    try Self.position(try await session.execute(lock(shard)))
  }

  private func lock(_ shard: String) -> SQL {
    "SELECT coalesce(last_seq_id, 0) FROM \(raw: shape.store).mt_event_progression WHERE name = \(shard) FOR UPDATE"
  }

  private static func position(_ found: ResultSet) throws -> Int64? { try found.rows.first?.get(0, as: Int64.self) }

  /// The shard's first position, or nil if it is not on record.
  package func first(_ shard: String, _ session: Session) async throws -> Int64? {
    let rows = try await session.execute("SELECT first_position FROM tidemark.shard WHERE name = \(shard)").rows
    return try rows.first?.get(0, as: Int64?.self)
  }

  /// The number up to which Marten never gives events to a projection, whatever its version; 0 if there is none.
  package func floor(of projection: String, _ session: Session) async throws -> Int64 {
    guard shape.hasFloors else { return 0 }
    return try await session.execute(
      """
      SELECT coalesce(max(floor), 0)::bigint AS floor FROM \(raw: shape.store).mt_event_projection_floors
       WHERE name = \(projection) AND tenant_id = ''
      """
    ).rows[0].get("floor", as: Int64.self)
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
