package import EventStore
package import Postgres
package import Rules

/// Keeps the events whose numbers were dead when the mark passed them, because no transaction had drawn them: each is on record as an
/// arrival, and is a dead letter of the shards that have not read it.
package struct UndrawnEvents: Sendable {
  package let shape: StoreShape

  /// The message of a dead letter for such an event.
  static let message = "the event has a number that no transaction had drawn when the high-water mark passed it"

  package init(_ shape: StoreShape) { self.shape = shape }

  /// What became of the events of one call.
  package struct Kept: Sendable, Hashable {
    package var sequences: [Int64]
    /// The shards that have dead letters now.
    package var shards: [String]
    /// The shards that take the events, and may have read them or not.
    package var undecided: [String]
  }

  /// Records events that are not on record yet: every node looks, and the first to find an event records it.
  ///
  /// The numbers of an event on record are no gap for a page, so a shard that is before them reads the event.
  ///
  /// - Returns: nil if other nodes, or the watch of skipped gaps, have recorded all.
  package func keep(
    _ found: [PassedNumbers.Undrawn], takers: [MarkTable.Taker], node: String, _ session: Session
  ) async throws -> Kept? {
    let (firsts, lasts) = (found.map(\.numbers.lowerBound), found.map(\.numbers.upperBound))
    let store = shape.store
    return try await session.transaction { session in
      let rows = try await session.execute(
        """
        WITH recorded AS (
            INSERT INTO tidemark.gap (first_seq_id, last_seq_id, reason, arrived)
            SELECT e.seq_id, e.seq_id, 'not drawn', ARRAY[e.seq_id]
              FROM unnest(\(firsts)::bigint[], \(lasts)::bigint[]) AS f (first, last)
              JOIN \(raw: store).mt_events AS e ON e.seq_id BETWEEN f.first AND f.last AND \(raw: shape.eventPredicate)
             WHERE coalesce((SELECT g.last_seq_id FROM tidemark.gap AS g
                              WHERE g.first_seq_id <= e.seq_id ORDER BY g.first_seq_id DESC LIMIT 1) < e.seq_id, true)
             ORDER BY e.seq_id
            ON CONFLICT DO NOTHING
            RETURNING first_seq_id)
        SELECT e.seq_id, e.type::text AS type, \(raw: shape.archivedFlag) AS is_archived
          FROM recorded JOIN \(raw: store).mt_events AS e ON e.seq_id = recorded.first_seq_id
         ORDER BY e.seq_id
        """
      ).rows
      guard !rows.isEmpty else { return nil }
      let events = try rows.map { row in
        Event(
          sequence: try row.get("seq_id", as: Int64.self), type: try row.get("type", as: String.self),
          isArchived: try row.get("is_archived", as: Bool.self))
      }
      let others = try await session.execute("SELECT name FROM tidemark.shard").rows.map {
        try $0.get("name", as: String.self)
      }
      var kept = Kept(sequences: events.map(\.sequence), shards: [], undecided: [])
      for taker in MarkTable.Taker.all(takers, and: others) {
        let taken = events.filter { taker.takes(type: $0.type, isArchived: $0.isArchived) }.map(\.sequence)
        let missed = Self.numbers(taken, in: found) { $0.missedBy.contains(taker.shard) }
        if !Self.numbers(taken, in: found, where: { $0.perhapsMissedBy.contains(taker.shard) }).isEmpty {
          kept.undecided.append(taker.shard)
        }
        guard !missed.isEmpty else { continue }
        kept.shards.append(taker.shard)
        try await session.execute(
          """
          INSERT INTO tidemark.dead_letter (shard, seq_id, stream_id, type, class, message, node)
          SELECT \(taker.shard), e.seq_id, e.stream_id::text, e.type::text, \(LetterClass.lateArrival.rawValue), \(Self.message), \(node)
            FROM \(raw: store).mt_events AS e WHERE e.seq_id = ANY (\(missed)::bigint[])
          ON CONFLICT (shard, seq_id) DO NOTHING
          """)
      }
      return kept
    }
  }

  private struct Event {
    var sequence: Int64
    var type: String
    var isArchived: Bool
  }

  private static func numbers(
    _ sequences: [Int64], in found: [PassedNumbers.Undrawn], where isMeant: (PassedNumbers.Undrawn) -> Bool
  ) -> [Int64] {
    let meant = found.filter(isMeant)
    return sequences.filter { sequence in meant.contains { $0.numbers.contains(sequence) } }
  }
}
