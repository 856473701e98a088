package import Postgres

/// What an operator asks of an event store: how far it is, and how much of it is empty.
package struct Statistics: Sendable {
  /// The highest number the sequence has handed out.
  package var highestSequence: Int64
  /// The high-water mark as last written down; nil where the daemon has never run.
  package var mark: Int64?
  /// Since the mark last moved; nil while there is nothing above it.
  package var markStandsFor: Duration?
  package var events: Int64
  /// `events` comes from the planner's statistics: the store is too large to count.
  package var eventsAreEstimated: Bool
  /// Numbers up to the highest that no event has: rolled back, or not committed yet.
  package var missingNumbers: Int64
  /// Gaps that the mark stepped over without proof.
  package var recordedGaps: Int64
  package var lateArrivals: Int64
  package var deadLetters: Int64

  /// Stores with more numbers than this are estimated, not counted.
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
