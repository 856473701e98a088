package import Postgres

/// Figures of an event store for the operator: its highest number, its mark, its events and its gaps.
package struct Statistics: Sendable {
  /// The highest number the sequence has handed out.
  package var highestSequence: Int64
  /// The high-water mark as last recorded; nil if the daemon has never run.
  package var mark: Int64?
  /// How long ago the mark last moved; nil if there is nothing above it.
  package var markStandsFor: Duration?
  package var events: Int64
  /// `events` comes from the planner's statistics, because the store is too large to count.
  package var eventsAreEstimated: Bool
  /// How many numbers up to the highest have no event: rolled back, or not committed yet.
  package var missingNumbers: Int64
  /// Gaps that the mark skipped without proof.
  package var recordedGaps: Int64
  package var lateArrivals: Int64
  package var deadLetters: Int64

  /// The events of stores with more numbers than this are estimated, not counted.
  static let countingLimit: Int64 = 1_000_000

  package static func read(_ session: Session, shape: StoreShape) async throws -> Statistics {
    let numbers = try await HighWaterReads(shape).numbers(session)
    let highest = max(numbers.handedOut, numbers.highestVisible)
    let isLarge = highest > countingLimit
    let count: SQL =
      isLarge
      ? """
      SELECT greatest(sum(greatest(c.reltuples, 0)), 0)::bigint AS events
        FROM pg_catalog.pg_class AS c
       WHERE c.oid = \(shape.eventsOID)::oid
          OR c.oid IN (SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = \(shape.eventsOID)::oid)
      """
      : "SELECT count(*) AS events FROM \(raw: shape.store).mt_events"
    let events = try await session.execute(count).rows[0].get("events", as: Int64.self)
    let own = try await session.execute(
      """
      SELECT (SELECT mark FROM tidemark.high_water) AS mark,
             (SELECT extract(epoch FROM clock_timestamp() - updated_at)::float8 FROM tidemark.high_water) AS mark_age,
             (SELECT count(*) FROM tidemark.gap) AS gaps,
             (SELECT coalesce(sum(cardinality(arrived)), 0)::bigint FROM tidemark.gap) AS late,
             (SELECT count(*) FROM tidemark.dead_letter) AS letters
      """
    ).rows[0]
    let mark = try own.get("mark", as: Int64?.self)
    let age = try own.get("mark_age", as: Double?.self)
    return Statistics(
      highestSequence: highest, mark: mark,
      markStandsFor: mark.flatMap { $0 < highest ? age.map { .seconds(max(0, $0)) } : nil }, events: events,
      eventsAreEstimated: isLarge,
      missingNumbers: max(0, highest - events), recordedGaps: try own.get("gaps", as: Int64.self),
      lateArrivals: try own.get("late", as: Int64.self), deadLetters: try own.get("letters", as: Int64.self))
  }
}
