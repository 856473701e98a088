import EventStore
package import Postgres
package import Rules

/// The events that pages continued without, by shard and reason: `tidemark.skipped`. Dead letters are not among them.
///
/// A page that shows fewer events than the store has must say so somewhere: nobody misses rows that were never written.
package struct SkippedEvents: Sendable, Hashable, Encodable {
  package var shard: String
  /// `archived`, `marked` or `ignored`.
  package var reason: String
  package var events: Int64
  package var first_sequence: Int64
  package var last_sequence: Int64

  /// Why, in words for `status`.
  package var words: String {
    switch reason {
    case "archived": "archived before the shard read them"
    case "marked": "marked as skipped in the event store"
    case "ignored": "ignored by a rule after they failed"
    default: reason
    }
  }

  package static func all(_ session: Session) async throws -> [SkippedEvents] {
    try await session.execute(
      "SELECT shard, reason, events, first_seq_id, last_seq_id FROM tidemark.skipped ORDER BY shard, reason"
    ).rows.map { row in
      SkippedEvents(
        shard: try row.get("shard", as: String.self), reason: try row.get("reason", as: String.self),
        events: try row.get("events", as: Int64.self), first_sequence: try row.get("first_seq_id", as: Int64.self),
        last_sequence: try row.get("last_seq_id", as: Int64.self))
    }
  }

  static func count(ignored: [Int64], shard: String) -> [SQL] {
    guard let first = ignored.min(), let last = ignored.max() else { return [] }
    return [
      """
      INSERT INTO tidemark.skipped AS s (shard, reason, events, first_seq_id, last_seq_id)
      VALUES (\(shard), 'ignored', \(ignored.count), \(first), \(last))
      ON CONFLICT (shard, reason) DO UPDATE
         SET events = s.events + excluded.events, last_seq_id = greatest(s.last_seq_id, excluded.last_seq_id), last_at = now()
      """
    ]
  }
}

extension Archived {
  /// The statements that make `tidemark.batch` obey it, inside the page's transaction.
  package var settings: [SQL] {
    self == .skip ? ["SELECT set_config('tidemark.archived', 'skip', true)"] : []
  }
}
