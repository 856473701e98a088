import Rules
package import EventStore
package import Postgres

/// Events that shards gave up on: `tidemark.dead_letter`.
package struct DeadLetters: Sendable {
  package let shape: StoreShape

  package init(_ shape: StoreShape) { self.shape = shape }

  /// An event that a shard gave up on, and why.
  package struct Letter: Sendable, Hashable {
    package var sequence: Int64
    package var failureClass: String
    package var sqlState: String?
    package var message: String
    package var detail: String?

    package init(sequence: Int64, failureClass: String, sqlState: String?, message: String, detail: String?) {
      self.sequence = sequence
      self.failureClass = failureClass
      self.sqlState = sqlState
      self.message = message
      self.detail = detail
    }
  }

  /// The statements that store letters, for the transaction of the page. If the store has Marten's table of dead letters, they go there too.
  package func keep(_ letters: [Letter], shard: String, node: String) -> [SQL] {
    guard !letters.isEmpty else { return [] }
    let given: SQL = """
      unnest(\(letters.map(\.sequence))::bigint[], \(letters.map(\.failureClass))::text[], \(letters.map { $0.sqlState ?? "" })::text[],
             \(letters.map(\.message))::text[], \(letters.map { $0.detail ?? "" })::text[]) AS l (seq_id, class, sqlstate, message, detail)
      """
    let statements: [SQL] = [
      """
      INSERT INTO tidemark.dead_letter AS d (shard, seq_id, stream_id, type, class, sqlstate, message, detail, node)
      SELECT \(shard), l.seq_id, e.stream_id::text, e.type::text, l.class, nullif(l.sqlstate, ''), l.message, nullif(l.detail, ''), \(node)
        FROM \(given) JOIN \(raw: shape.store).mt_events AS e ON e.seq_id = l.seq_id
      ON CONFLICT (shard, seq_id) DO UPDATE
         SET class = excluded.class, sqlstate = excluded.sqlstate, message = excluded.message, detail = excluded.detail,
             attempts = d.attempts + 1, last_failed_at = now(), node = excluded.node
      """
    ]
    // A rebuild writes its documents when it takes the shard's letters over.
    if PageTarget.isRebuild(letters: shard) { return statements }
    return statements + LetterDocuments(shape).keep(letters.map(\.sequence), shard: shard)
  }

  /// Selects letters for an operator.
  package struct Filter: Sendable, Hashable {
    /// Full names; empty for all shards.
    package var shards: [String] = []
    package var types: [String] = []
    package var classes: [String] = []
    package var streams: [String] = []
    package var sequences: [Int64] = []
    /// First failed at or after `since`, and before `until`, as PostgreSQL reads a `timestamptz`.
    package var since: String?
    package var until: String?

    package init() {}
  }

  package struct Row: Sendable, Encodable {
    package var shard: String
    package var sequence: Int64
    package var stream: String?
    package var type: String?
    package var `class`: String
    package var sqlstate: String?
    package var message: String
    package var detail: String?
    package var attempts: Int
    package var first_failed_at: String
    package var last_failed_at: String
    package var node: String?
  }

  private func condition(_ filter: Filter) -> SQL {
    """
    (cardinality(\(filter.shards)::text[]) = 0 OR d.shard = ANY (\(filter.shards)::text[]))
       AND (cardinality(\(filter.types)::text[]) = 0 OR d.type = ANY (\(filter.types)::text[]))
       AND (cardinality(\(filter.classes)::text[]) = 0 OR d.class = ANY (\(filter.classes)::text[]))
       AND (cardinality(\(filter.streams)::text[]) = 0 OR d.stream_id = ANY (\(filter.streams)::text[]))
       AND (cardinality(\(filter.sequences)::bigint[]) = 0 OR d.seq_id = ANY (\(filter.sequences)::bigint[]))
       AND (\(filter.since)::timestamptz IS NULL OR d.first_failed_at >= \(filter.since)::timestamptz)
       AND (\(filter.until)::timestamptz IS NULL OR d.first_failed_at < \(filter.until)::timestamptz)
    """
  }

  /// Ordered by shard and sequence, at most `limit` of them.
  package func list(_ filter: Filter, limit: Int, _ session: Session) async throws -> [Row] {
    try await session.execute(
      """
      SELECT d.shard, d.seq_id, d.stream_id, d.type, d.class, d.sqlstate, d.message, d.detail, d.attempts,
             to_char(d.first_failed_at, 'YYYY-MM-DD HH24:MI:SS') AS first_at, to_char(d.last_failed_at, 'YYYY-MM-DD HH24:MI:SS') AS last_at,
             d.node
        FROM tidemark.dead_letter AS d
       WHERE \(condition(filter))
       ORDER BY d.shard, d.seq_id
       LIMIT \(limit)
      """
    ).rows.map { row in
      Row(
        shard: try row.get("shard", as: String.self), sequence: try row.get("seq_id", as: Int64.self),
        stream: try row.get("stream_id", as: String?.self), type: try row.get("type", as: String?.self),
        class: try row.get("class", as: String.self), sqlstate: try row.get("sqlstate", as: String?.self),
        message: try row.get("message", as: String.self), detail: try row.get("detail", as: String?.self),
        attempts: try row.get("attempts", as: Int.self), first_failed_at: try row.get("first_at", as: String.self),
        last_failed_at: try row.get("last_at", as: String.self), node: try row.get("node", as: String?.self))
    }
  }

  /// Identifies a letter.
  package struct Key: Sendable, Hashable {
    package var shard: String
    package var sequence: Int64
  }

  package func keys(_ filter: Filter, _ session: Session) async throws -> [Key] {
    try await session.execute("SELECT d.shard, d.seq_id FROM tidemark.dead_letter AS d WHERE \(condition(filter))").rows
      .map { Key(shard: try $0.get("shard", as: String.self), sequence: try $0.get("seq_id", as: Int64.self)) }
  }

  package func count(_ filter: Filter, _ session: Session) async throws -> Int {
    try await session.execute("SELECT count(*) FROM tidemark.dead_letter AS d WHERE \(condition(filter))").rows[0]
      .get(0, as: Int.self)
  }

  /// Deletes exactly these letters; the events stay in the store, and are never applied. Returns how many.
  ///
  /// Under the locks of the shards' positions, so that no page reads the letters meanwhile.
  package func discard(_ keys: [Key], _ session: Session) async throws -> Int {
    try await session.transaction { [self] session in
      try await session.execute(
        """
        SELECT FROM \(raw: shape.store).mt_event_progression AS p
         WHERE p.name = ANY (\(Set(keys.map(\.shard)).sorted())::text[])
         ORDER BY p.name FOR UPDATE
        """)
      for (shard, keys) in Dictionary(grouping: keys, by: \.shard) {
        try await LetterDocuments(shape).removeIfPermitted(keys.map(\.sequence), shard: shard, session)
      }
      return try await session.execute(
        """
        DELETE FROM tidemark.dead_letter AS d
         USING unnest(\(keys.map(\.shard))::text[], \(keys.map(\.sequence))::bigint[]) AS k (shard, seq_id)
         WHERE d.shard = k.shard AND d.seq_id = k.seq_id
        """
      ).affectedRows
    }
  }

  /// Records that one more attempt failed. A letter that another replay has taken meanwhile does not come back.
  package func failedAgain(_ letter: Letter, shard: String, node: String, _ session: Session) async throws {
    try await session.execute(
      """
      UPDATE tidemark.dead_letter
         SET class = CASE WHEN class = ANY (\(LetterClass.kept.map(\.rawValue))::text[]) THEN class ELSE \(letter.failureClass) END,
             sqlstate = \(letter.sqlState), message = \(letter.message), detail = \(letter.detail),
             attempts = attempts + 1, last_failed_at = now(), node = \(node)
       WHERE shard = \(shard) AND seq_id = \(letter.sequence)
      """)
  }

  /// Deletes one letter and shows only its event in `tidemark.batch`, inside the transaction that then applies the event: a second replay
  /// finds no letter.
  ///
  /// Waits for the shard's current page and blocks the next one, so that the event is never applied beside a page. Takes nothing if an
  /// earlier letter of a parked stream must go first, or if the shard's position is below the letter and a page will apply its event;
  /// ``hasTaken(_:)`` tells.
  ///
  /// - Parameter types: hides the event if its type is not among these; nil for any.
  package func take(_ sequence: Int64, shard: String, inOrder: Bool, types: [String]?) -> [SQL] {
    [
      "SELECT FROM \(raw: shape.store).mt_event_progression WHERE name = \(shard) FOR UPDATE",
      """
      DELETE FROM tidemark.dead_letter AS d
       WHERE d.shard = \(shard) AND d.seq_id = \(sequence)
         AND NOT EXISTS (SELECT FROM \(raw: shape.store).mt_event_progression AS p
                          WHERE p.name = d.shard AND p.last_seq_id < d.seq_id)
         AND NOT (\(inOrder) AND EXISTS (SELECT FROM tidemark.dead_letter AS earlier
                                          WHERE earlier.shard = d.shard AND earlier.stream_id = d.stream_id AND earlier.seq_id < d.seq_id
                                            AND earlier.class <> 'unknown-event'))
      """,
      """
      SELECT set_config('tidemark.floor', \("\(sequence - 1)"), true), set_config('tidemark.ceiling', \("\(sequence)"), true),
             set_config('tidemark.types', coalesce(\(types)::text[]::text, ''), true), set_config('tidemark.passed_over', '', true), set_config('tidemark.parked', '', true)
      """,
    ]
  }

  /// - Parameter results: of the statements of ``take(_:shard:inOrder:types:)``.
  static func hasTaken(_ results: some Collection<ResultSet>) -> Bool { results.dropFirst().first?.affectedRows == 1 }
}
