package import EventStore
package import Postgres
package import Rules

/// Whether the numbers of the store are those on record, and what happens once they are not: ``Era`` decides.
package struct EraTable: Sendable {
  package let shape: StoreShape

  package init(_ shape: StoreShape) { self.shape = shape }

  /// An era that a session has just begun.
  package struct Begun: Sendable, Hashable {
    package var number: Int
    /// Why, in words.
    package var reason: String
    /// The dead letters that were set aside.
    package var letters: Int
  }

  struct Found: Sendable {
    var number: Int
    var era: Era
    var sight: Era.Sight
  }

  /// Begins a new era if the store's numbers are others than those on record.
  ///
  /// - Returns: the number of the era, and what became of the one before if a new one has begun just now.
  package func enter(_ session: Session) async throws -> (number: Int, begun: Begun?) {
    guard let found = try await look(session) else { return (1, nil) }
    guard case .new = found.era.judge(found.sight) else { return (found.number, nil) }
    let begun = try await session.transaction { session -> Begun? in
      // Another node may have begun it.
      try await session.script("SET LOCAL lock_timeout = '10s'")
      try await session.execute("SELECT FROM tidemark.high_water FOR UPDATE")
      guard let found = try await look(session), case .new(let reason) = found.era.judge(found.sight) else {
        return nil
      }
      return try await begin(found.number + 1, because: reason, session)
    }
    return (begun?.number ?? found.number + 1, begun)
  }

  /// All that is known of numbers goes in one transaction, so that no session ever combines a number of one era with what another knows of it.
  private func begin(_ number: Int, because reason: String, _ session: isolated Session) async throws -> Begun {
    try await session.execute(
      """
      UPDATE tidemark.high_water
         SET mark = 0, updated_at = now(), era = \(number)::integer, witness_seq_id = NULL, witness_place = NULL, witness_id = NULL, sequence_file = NULL
      """)
    // Pages that run take effect before this, and later ones find the record.
    try await session.execute("UPDATE tidemark.position SET is_stale = true")
    try await session.execute("SELECT pg_advisory_xact_lock(\(raw: AdvisoryLocks.gaps))")
    try await session.execute("DELETE FROM tidemark.gap")
    try await session.execute("DELETE FROM tidemark.skipped")
    for shard in try await session.execute("SELECT DISTINCT shard FROM tidemark.dead_letter").rows {
      for statement in LetterDocuments(shape).remove(nil, shard: try shard.get("shard", as: String.self)) {
        try await session.execute(statement)
      }
    }
    let letters = try await session.execute(
      """
      WITH old AS (DELETE FROM tidemark.dead_letter RETURNING *)
      INSERT INTO tidemark.former_letter (era, shard, seq_id, stream_id, type, class, sqlstate, message, detail, attempts, first_failed_at, last_failed_at, node)
      SELECT \(number - 1)::integer, shard, seq_id, stream_id, type, class, sqlstate, message, detail, attempts, first_failed_at, last_failed_at, node
        FROM old
      ON CONFLICT DO NOTHING
      """)
    // Its new tables hold rows of events that are gone.
    try await session.execute(
      "UPDATE tidemark.rebuild SET is_aborting = true WHERE state <> 'asked' AND (schema IS NOT NULL OR state = 'replaying')"
    )
    try await session.execute(
      """
      UPDATE \(raw: shape.store).mt_event_progression SET last_seq_id = 0, last_updated = transaction_timestamp()
       WHERE name = 'HighWaterMark' AND last_seq_id > (SELECT CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - 1 END FROM \(raw: shape.sequence) AS s)
      """)
    return Begun(number: number, reason: reason, letters: letters.affectedRows)
  }

  /// The record and the store at one moment.
  ///
  /// LATERAL with LIMIT is one look into the index: nothing tells the planner that the record has one row, so a plain join could read all events.
  package var statement: SQL {
    """
    SELECT h.mark, h.era, h.witness_seq_id, h.witness_place, h.witness_id, h.sequence_file,
           \(raw: Self.place) AS place, e.id::text AS id, coalesce(starts_with(e.type, 'Compacted<'), false) AS is_compacted,
           CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - 1 END AS handed_out,
           coalesce((SELECT max(v.seq_id) FROM \(raw: shape.store).mt_events AS v), 0) AS highest_visible,
           coalesce(pg_relation_filenode(\(shape.sequenceOID)::oid)::bigint, 0) AS file,
           EXISTS (SELECT FROM \(raw: shape.store).mt_event_progression AS p WHERE p.name = 'HighWaterMark') AS has_mark_row
      FROM tidemark.high_water AS h CROSS JOIN \(raw: shape.sequence) AS s
      LEFT JOIN LATERAL (SELECT * FROM \(raw: shape.store).mt_events AS w WHERE w.seq_id = h.witness_seq_id LIMIT 1) AS e ON true
    """
  }

  /// Whether the numbers are still those of the era, from the result of ``statement``.
  ///
  /// A sequence behind the mark alone is no new era: the rule of the mark refuses it.
  package func holds(_ era: Int, _ seen: ResultSet) throws -> Bool {
    guard let found = try decode(seen) else { return true }
    guard found.number == era else { return false }
    if case .new = found.era.judge(found.sight) { return false }
    return true
  }

  /// The number of the era; nil if the numbers are others than those on record, and the session of the mark has yet to find that out.
  package func current(_ session: Session) async throws -> Int? {
    guard let found = try await look(session) else { return 1 }
    if case .new = found.era.judge(found.sight) { return nil }
    return found.number
  }

  func look(_ session: Session) async throws -> Found? { try decode(try await session.prepared(statement)) }

  /// Nil before the first record.
  private func decode(_ seen: ResultSet) throws -> Found? {
    guard let row = seen.rows.first else { return nil }
    var witness: (Int64, Era.Event)?
    if let sequence = try row.get("witness_seq_id", as: Int64?.self),
      let place = try row.get("witness_place", as: String?.self), let id = try row.get("witness_id", as: String?.self)
    {
      witness = (sequence, Era.Event(place: place, id: id))
    }
    var found: Era.Event?
    if witness != nil, let id = try row.get("id", as: String?.self) {
      found = Era.Event(place: try row.get("place", as: String.self), id: id)
    }
    return Found(
      number: Int(try row.get("era", as: Int32.self)),
      era: Era(
        mark: try row.get("mark", as: Int64.self), witness: witness,
        sequenceFile: try row.get("sequence_file", as: Int64?.self)),
      sight: Era.Sight(
        handedOut: try row.get("handed_out", as: Int64.self),
        highestVisible: try row.get("highest_visible", as: Int64.self), found: found,
        isCompacted: try row.get("is_compacted", as: Bool.self), sequenceFile: try row.get("file", as: Int64.self),
        hasMarkRow: try row.get("has_mark_row", as: Bool.self)))
  }

  private static let place = "concat(e.stream_id::text, ' ', e.version)"

  /// Records a mark, upwards only and in its own era, with the newest event that it covers as the witness.
  func write(_ mark: Int64, era: Int) -> SQL {
    """
    INSERT INTO tidemark.high_water AS h (mark, era, witness_seq_id, witness_place, witness_id, sequence_file)
    SELECT \(mark), \(era)::integer, e.seq_id, e.place, e.id, pg_relation_filenode(\(shape.sequenceOID)::oid)::bigint
      FROM (SELECT) AS one
      LEFT JOIN (SELECT e.seq_id, \(raw: Self.place) AS place, e.id::text AS id FROM \(raw: shape.store).mt_events AS e
                  WHERE e.seq_id <= \(mark) ORDER BY e.seq_id DESC LIMIT 1) AS e ON true
    ON CONFLICT (singleton) DO UPDATE
       SET mark = excluded.mark, updated_at = now(), witness_seq_id = excluded.witness_seq_id, witness_place = excluded.witness_place,
           witness_id = excluded.witness_id, sequence_file = excluded.sequence_file
     WHERE h.mark < excluded.mark AND h.era = excluded.era
    """
  }
}
