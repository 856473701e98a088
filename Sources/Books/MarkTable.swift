package import Rules
package import EventStore
package import Postgres

/// The persisted high-water mark, and the gaps it skipped.
package struct MarkTable: Sendable {
  package let shape: StoreShape

  /// The message of a dead letter for an event that became visible in a gap.
  static let lateArrival = "the event became visible after the high-water mark had skipped its number"

  package init(_ shape: StoreShape) { self.shape = shape }

  /// The mark that an earlier run proved, or nil on the first look at this store.
  package func restore(_ session: Session) async throws -> Int64? {
    try await session.execute("SELECT mark FROM tidemark.high_water").rows.first?.get("mark", as: Int64.self)
  }

  /// Records the mark, upwards only: in our own row, from which a restart continues, and in the progression's `HighWaterMark`, where
  /// Marten's tools look. The latter is never read back, because other programs move it by other rules.
  ///
  /// Changes nothing if another session holds one of the rows, since the mark must not wait for its own record; and if the server accepts no
  /// writes, since the proof needs none and its session must not end for that; and if the record is of another era.
  package func persist(_ mark: Int64, era: Int, _ session: Session) async throws -> Persisting {
    do {
      guard try eraTable.holds(era, try await session.prepared(eraTable.statement)) else { return .otherEra }
      let isReadOnly = try await session.prepared("SELECT current_setting('transaction_read_only')::boolean").rows[0]
      guard try !isReadOnly.get(0, as: Bool.self) else { return .readOnly }
      try await write(mark, era: era, session)
      return .done
    } catch let error as PostgresError where error.sqlState == .lockNotAvailable {
      await session.rollBack()
      return .locked
    }
  }

  /// What became of the record of the mark.
  package enum Persisting: Sendable { case done, locked, readOnly, otherEra }

  private var eraTable: EraTable { EraTable(shape) }

  private func write(_ mark: Int64, era: Int, _ session: Session) async throws {
    let statements: [SQL] = [
      "BEGIN ISOLATION LEVEL READ COMMITTED",
      "SELECT set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '20ms', true)",
      eraTable.write(mark, era: era),
      """
      INSERT INTO \(raw: shape.store).mt_event_progression AS p (name, last_seq_id) VALUES ('HighWaterMark', \(mark))
      ON CONFLICT (name) DO UPDATE SET last_seq_id = excluded.last_seq_id, last_updated = transaction_timestamp()
       WHERE p.last_seq_id < excluded.last_seq_id
      """,
      "COMMIT",
    ]
    _ = try await session.pipeline(statements, timeout: .seconds(30))
  }

  /// Records gaps before the mark passes them, and returns the new ones among them. The commit is durable: from here on no page reads an
  /// event in them.
  ///
  /// Several nodes pass gaps, each by its own clock, and one may have seen an event in a range that another takes for a gap. So this checks
  /// once more which numbers are missing, under a lock that every page takes for a moment when it reads this table: a page before it read
  /// only events that it sees too, and a page after it sees the gaps it records. A number that is already on record is not recorded again,
  /// so gaps never overlap.
  ///
  /// - Parameter heldBy: the holder of the numbers, in words for the operator; nil if there was none.
  package func record(
    _ gaps: [ClosedRange<Int64>], reason: String, heldBy: String?, _ session: Session
  ) async throws -> [ClosedRange<Int64>] {
    guard let lowest = gaps.map(\.lowerBound).min(), let highest = gaps.map(\.upperBound).max() else { return [] }
    let (firsts, lasts) = (gaps.map(\.lowerBound), gaps.map(\.upperBound))
    // Marten's tools look here for skipped numbers.
    let skips: SQL =
      shape.hasHighWaterSkips
      ? """
      skipped AS (
          INSERT INTO \(raw: shape.store).mt_high_water_skips (starting_sequence, ending_sequence)
          SELECT first_seq_id, last_seq_id FROM recorded
          ON CONFLICT DO NOTHING)
      """ : "skipped AS (SELECT)"
    let statements: [SQL] = [
      "BEGIN ISOLATION LEVEL READ COMMITTED",
      "SELECT pg_advisory_xact_lock(\(raw: AdvisoryLocks.gaps))",
      """
      WITH asked AS (
          SELECT first, last FROM unnest(\(firsts)::bigint[], \(lasts)::bigint[]) AS g (first, last)),
      come AS (
          SELECT e.seq_id AS first, e.seq_id AS last
            FROM asked JOIN \(raw: shape.store).mt_events AS e ON e.seq_id BETWEEN asked.first AND asked.last),
      known AS (
          SELECT first_seq_id AS first, last_seq_id AS last FROM tidemark.gap
           WHERE first_seq_id BETWEEN \(lowest) AND \(highest)
           UNION ALL
         (SELECT first_seq_id, last_seq_id FROM tidemark.gap
           WHERE first_seq_id < \(lowest) ORDER BY first_seq_id DESC LIMIT 1)),
      recorded AS (
          INSERT INTO tidemark.gap (first_seq_id, last_seq_id, reason, held_by)
          SELECT lower(r), upper(r) - 1, \(reason), \(heldBy)
            FROM unnest((SELECT range_agg(int8range(first, last, '[]')) FROM asked)
                        - coalesce((SELECT range_agg(int8range(first, last, '[]')) FROM come), '{}')
                        - coalesce((SELECT range_agg(int8range(first, last, '[]')) FROM known), '{}')) AS r
          RETURNING first_seq_id, last_seq_id),
      \(skips)
      SELECT first_seq_id, last_seq_id FROM recorded ORDER BY 1
      """,
      "COMMIT",
    ]
    do {
      return try await session.pipeline(statements, timeout: .seconds(30))[2].rows.map {
        try $0.get("first_seq_id", as: Int64.self)...(try $0.get("last_seq_id", as: Int64.self))
      }
    } catch {
      await session.rollBack()
      throw error
    }
  }

  /// An event that became visible in a gap the mark had skipped.
  package struct LateArrival: Sendable, Hashable {
    package var sequence: Int64
    package var type: String
    package var streamID: String
    package var gapPassedAt: String
    package var isArchived: Bool
  }

  /// Looks again at the gaps passed within `window`, or at every gap on record, and returns the events that have become visible in them
  /// since the last look.
  package func lateArrivals(within window: Duration?, _ session: Session) async throws -> [LateArrival] {
    let rows = try await session.prepared(
      """
      SELECT e.seq_id, e.type::text AS type, e.stream_id::text AS stream_id, g.passed_at::text AS passed_at,
             \(raw: shape.archivedFlag) AS is_archived
        FROM tidemark.gap AS g
        JOIN \(raw: shape.store).mt_events AS e
          ON e.seq_id BETWEEN g.first_seq_id AND g.last_seq_id AND NOT e.seq_id = ANY (g.arrived) AND \(raw: shape.eventPredicate)
       WHERE g.passed_at > now() - \(window?.components.seconds ?? Int64(Int32.max)) * interval '1 second'
       ORDER BY e.seq_id
       LIMIT 1000
      """
    ).rows
    return try rows.map { row in
      LateArrival(
        sequence: try row.get("seq_id", as: Int64.self), type: try row.get("type", as: String.self),
        streamID: try row.get("stream_id", as: String.self), gapPassedAt: try row.get("passed_at", as: String.self),
        isArchived: try row.get("is_archived", as: Bool.self))
    }
  }

  /// A shard and the event types it takes; nil for every type.
  package struct Taker: Sendable, Hashable {
    package var shard: String
    package var types: [String]?
    package var archived: Archived

    package init(shard: String, types: [String]?, archived: Archived = .keep) {
      self.shard = shard
      self.types = types
      self.archived = archived
    }

    /// The declared shards, and those that ran before and do not run now, which count as taking every type.
    static func all(_ declared: [Taker], and others: some Sequence<String>) -> [Taker] {
      let names = Set(declared.map(\.shard))
      return declared + others.filter { !names.contains($0) }.sorted().map { Taker(shard: $0, types: nil) }
    }

    func takes(type: String, isArchived: Bool) -> Bool {
      (types?.contains(type) ?? true) && !(isArchived && archived == .skip)
    }
  }

  /// A late arrival that has been recorded.
  package struct Kept: Sendable, Hashable {
    package var arrival: LateArrival
    /// The shards that were past it.
    package var shards: [String]
  }

  /// Records late arrivals: each becomes a dead letter of every shard that takes it and is already past it; shards that are still before
  /// it will get it in a page. A shard that ran before and does not run now counts as taking every type.
  ///
  /// One transaction, under the locks of the shards' positions, so that no page decides otherwise at the same time. Every node looks for
  /// late arrivals; the first one to find an event records it, once.
  ///
  /// - Returns: those that this call recorded, each with the shards that now have a dead letter for it.
  package func keep(
    _ arrivals: [LateArrival], takers: [Taker], node: String, _ session: Session
  ) async throws -> [Kept] {
    for _ in 1...5 { if let kept = try await account(arrivals, takers, node, session) { return kept } }
    return []
  }

  /// Nil, without a change, if a shard started meanwhile.
  private func account(
    _ arrivals: [LateArrival], _ takers: [Taker], _ node: String, _ session: Session
  ) async throws -> [Kept]? {
    let store = shape.store
    return try await session.transaction { session in
      let open = try await session.execute(
        """
        SELECT s.seq_id
          FROM unnest(\(arrivals.map(\.sequence))::bigint[]) AS s (seq_id)
          JOIN tidemark.gap AS g ON s.seq_id BETWEEN g.first_seq_id AND g.last_seq_id
         ORDER BY g.first_seq_id
           FOR UPDATE OF g
        """
      ).rows.map { try $0.get("seq_id", as: Int64.self) }
      // The previous holder of these rows has recorded what arrived: only a new statement sees that.
      let settled = try await session.execute(
        """
        SELECT s.seq_id
          FROM unnest(\(open)::bigint[]) AS s (seq_id)
          JOIN tidemark.gap AS g ON s.seq_id BETWEEN g.first_seq_id AND g.last_seq_id AND s.seq_id = ANY (g.arrived)
        """
      ).rows.map { try $0.get("seq_id", as: Int64.self) }
      let left = Set(open).subtracting(settled)
      let arrivals = arrivals.filter { left.contains($0.sequence) }
      guard !arrivals.isEmpty else { return [] }
      let rows = try await session.execute(
        """
        SELECT name, coalesce(last_seq_id, 0) AS position FROM \(raw: store).mt_event_progression
         WHERE name = ANY (\(takers.map(\.shard))::text[]) OR name IN (SELECT s.name FROM tidemark.shard AS s)
         ORDER BY name
           FOR UPDATE
        """
      ).rows
      var positions: [String: Int64] = [:]
      for row in rows { positions[try row.get("name", as: String.self)] = try row.get("position", as: Int64.self) }
      // A shard that has just got its first position is not among them, and its first page may have read the gaps already.
      // From here on no page reads them; if such a shard exists, the caller starts again.
      let newcomers = try await session.pipeline([
        "SELECT pg_advisory_xact_lock(\(raw: AdvisoryLocks.gaps))",
        """
        SELECT FROM \(raw: store).mt_event_progression
         WHERE (name = ANY (\(takers.map(\.shard))::text[]) OR name IN (SELECT s.name FROM tidemark.shard AS s))
           AND NOT name = ANY (\(positions.keys.sorted())::text[])
        """,
      ])[1].rows
      guard newcomers.isEmpty else { return nil }
      let all = Taker.all(takers, and: positions.keys)
      var kept: [Kept] = []
      for arrival in arrivals {
        let past = all.filter { taker in
          taker.takes(type: arrival.type, isArchived: arrival.isArchived)
            && positions[taker.shard].map { $0 >= arrival.sequence } ?? false
        }.map(\.shard)
        for shard in past {
          try await session.execute(
            """
            INSERT INTO tidemark.dead_letter (shard, seq_id, stream_id, type, class, message, detail, node)
            VALUES (\(shard), \(arrival.sequence), \(arrival.streamID), \(arrival.type), \(LetterClass.lateArrival.rawValue), \(Self.lateArrival),
                    \("the gap was passed at \(arrival.gapPassedAt)"), \(node))
            ON CONFLICT (shard, seq_id) DO NOTHING
            """)
        }
        try await session.execute(
          """
          UPDATE tidemark.gap SET arrived = arrived || \(arrival.sequence)::bigint
           WHERE \(arrival.sequence) BETWEEN first_seq_id AND last_seq_id AND NOT \(arrival.sequence) = ANY (arrived)
          """)
        kept.append(Kept(arrival: arrival, shards: past))
      }
      return kept
    }
  }

  /// Forgets gaps in which no event appeared for a week.
  package func prune(_ session: Session) async throws {
    try await session.execute("DELETE FROM tidemark.gap WHERE passed_at < now() - interval '7 days' AND arrived = '{}'")
  }
}
