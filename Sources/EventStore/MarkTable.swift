package import Postgres

/// The persisted high-water mark, and the gaps it stepped over.
package struct MarkTable: Sendable {
  package let shape: StoreShape

  package init(_ shape: StoreShape) { self.shape = shape }

  /// The mark an earlier run proved, or nil on the first look at this store.
  package func restore(_ session: Session) async throws -> Int64? {
    try await session.execute("SELECT mark FROM tidemark.high_water").rows.first?.get("mark", as: Int64.self)
  }

  /// Writes the mark down, upwards only: in our own row, from which a restart goes on, and in the progression's `HighWaterMark`,
  /// where Marten's tools look. The latter is never read back: other programs move it by other rules.
  ///
  /// Returns false, and has written nothing, where somebody holds one of the rows: the mark must not wait for a book that is kept of it.
  package func persist(_ mark: Int64, _ session: Session) async throws -> Bool {
    do {
      try await write(mark, session)
      return true
    } catch let error as PostgresError where error.sqlState == .lockNotAvailable {
      try await session.rollBackIfNeeded()
      return false
    }
  }

  private func write(_ mark: Int64, _ session: Session) async throws {
    let statements: [SQL] = [
      "BEGIN",
      "SELECT set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '20ms', true)",
      """
      INSERT INTO tidemark.high_water AS h (mark) VALUES (\(mark))
      ON CONFLICT (singleton) DO UPDATE SET mark = excluded.mark, updated_at = now() WHERE h.mark < excluded.mark
      """,
      """
      INSERT INTO \(raw: shape.store).mt_event_progression AS p (name, last_seq_id) VALUES ('HighWaterMark', \(mark))
      ON CONFLICT (name) DO UPDATE SET last_seq_id = excluded.last_seq_id, last_updated = transaction_timestamp()
       WHERE p.last_seq_id < excluded.last_seq_id
      """,
      "COMMIT",
    ]
    _ = try await session.pipeline(statements, timeout: .seconds(30))
  }

  /// Records gaps before the mark passes them. Committed durably: from here on no page reads an event in them.
  package func record(_ gaps: [ClosedRange<Int64>], reason: String, heldBy: String?, _ session: Session) async throws {
    guard !gaps.isEmpty else { return }
    var statements: [SQL] = ["BEGIN"]
    statements.append(
      """
      INSERT INTO tidemark.gap (first_seq_id, last_seq_id, reason, held_by)
      SELECT first, last, \(reason), \(heldBy)
        FROM unnest(\(gaps.map(\.lowerBound))::bigint[], \(gaps.map(\.upperBound))::bigint[]) AS g (first, last)
      ON CONFLICT (first_seq_id) DO UPDATE SET last_seq_id = greatest(tidemark.gap.last_seq_id, excluded.last_seq_id)
      """)
    if shape.hasHighWaterSkips {
      statements.append(
        """
        INSERT INTO \(raw: shape.store).mt_high_water_skips (starting_sequence, ending_sequence)
        SELECT first, last
          FROM unnest(\(gaps.map(\.lowerBound))::bigint[], \(gaps.map(\.upperBound))::bigint[]) AS g (first, last)
        ON CONFLICT DO NOTHING
        """)
    }
    statements.append("COMMIT")
    do {
      _ = try await session.pipeline(statements, timeout: .seconds(30))
    } catch {
      try? await session.rollBackIfNeeded()
      throw error
    }
  }

  /// An event that became visible in a gap the mark had stepped over.
  package struct LateArrival: Sendable, Hashable {
    package var sequence: Int64
    package var type: String
    package var streamID: String
    package var gapPassedAt: String
  }

  /// Looks again at the gaps passed within `window`, or at every gap that is not forgotten yet, and returns the events that have come up
  /// in them since the last look.
  package func lateArrivals(within window: Duration?, _ session: Session) async throws -> [LateArrival] {
    let rows = try await session.prepared(
      """
      SELECT e.seq_id, e.type::text AS type, e.stream_id::text AS stream_id, g.passed_at::text AS passed_at
        FROM tidemark.gap AS g
        JOIN \(raw: shape.store).mt_events AS e
          ON e.seq_id BETWEEN g.first_seq_id AND g.last_seq_id AND NOT e.seq_id = ANY (g.arrived) AND \(raw: shape.livePredicate)
       WHERE g.passed_at > now() - \(window?.components.seconds ?? Int64(Int32.max)) * interval '1 second'
       ORDER BY e.seq_id
       LIMIT 1000
      """
    ).rows
    return try rows.map { row in
      LateArrival(
        sequence: try row.get("seq_id", as: Int64.self), type: try row.get("type", as: String.self),
        streamID: try row.get("stream_id", as: String.self), gapPassedAt: try row.get("passed_at", as: String.self))
    }
  }

  /// A shard and the event types it takes; nil takes every type.
  package struct Taker: Sendable, Hashable {
    package var shard: String
    package var types: [String]?

    package init(shard: String, types: [String]?) {
      self.shard = shard
      self.types = types
    }
  }

  /// Accounts for late arrivals: each becomes a dead letter of every shard that takes it and is already past it; shards that are still
  /// before it will meet it in a page. A shard that has run before and does not now counts as one that takes every type.
  ///
  /// One transaction, under the locks of the shards' positions, so that no page decides otherwise at the same time.
  package func keep(_ arrivals: [LateArrival], takers: [Taker], node: String, _ session: Session) async throws {
    let store = shape.store
    try await session.transaction { session in
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
      let here = Set(takers.map(\.shard))
      let all = takers + positions.keys.filter { !here.contains($0) }.sorted().map { Taker(shard: $0, types: nil) }
      for arrival in arrivals {
        for taker in all where taker.types?.contains(arrival.type) ?? true {
          guard let position = positions[taker.shard], position >= arrival.sequence else { continue }
          try await session.execute(
            """
            INSERT INTO tidemark.dead_letter (shard, seq_id, stream_id, type, class, message, detail, node)
            VALUES (\(taker.shard), \(arrival.sequence), \(arrival.streamID), \(arrival.type), 'late_arrival',
                    'the event became visible after the high-water mark had stepped over its number',
                    \("the gap was passed at \(arrival.gapPassedAt)"), \(node))
            ON CONFLICT (shard, seq_id) DO NOTHING
            """)
        }
        try await session.execute(
          """
          UPDATE tidemark.gap SET arrived = arrived || \(arrival.sequence)::bigint
           WHERE \(arrival.sequence) BETWEEN first_seq_id AND last_seq_id AND NOT \(arrival.sequence) = ANY (arrived)
          """)
      }
    }
  }

  /// Forgets gaps that nothing came out of for a week.
  package func prune(_ session: Session) async throws {
    try await session.execute("DELETE FROM tidemark.gap WHERE passed_at < now() - interval '7 days' AND arrived = '{}'")
  }
}

extension Session {
  /// Leaves no transaction open after a statement of one failed.
  package func rollBackIfNeeded() async throws {
    switch transactionStatus {
    case .inTransaction, .failed: try await script("ROLLBACK")
    case .idle, .active, .unknown: break
    }
  }
}
