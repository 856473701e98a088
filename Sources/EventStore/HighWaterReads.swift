package import Postgres
import Rules

/// The statements behind the high-water mark.
///
/// Each has a snapshot of its own, and the proof rests on their order: the sequence first, then the holders of its lock, the events last.
/// Never merge two of them into one statement.
package struct HighWaterReads: Sendable {
  package let shape: StoreShape

  package init(_ shape: StoreShape) { self.shape = shape }

  /// The numbers handed out and visible at one moment of the server's clock.
  package struct Numbers: Sendable {
    /// Since 1970, the server's clock.
    package var serverTime: Duration
    package var handedOut: Int64
    package var highestVisible: Int64
  }

  /// A transaction whose lock keeps numbers unsettled.
  package struct Holder: Sendable {
    package var virtualTransaction: String
    /// Nil for a prepared transaction.
    package var processID: Int?
    package var onSequence: Bool
    package var onEvents: Bool
  }

  /// Step 1. Cheap: it reads one page of the sequence and one end of an index.
  package var numbersStatement: SQL {
    """
    SELECT extract(epoch FROM clock_timestamp())::numeric(20, 6)::text AS server_time,
           CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - 1 END AS handed_out,
           coalesce((SELECT max(e.seq_id) FROM \(raw: shape.store).mt_events AS e), 0) AS highest_visible
      FROM \(raw: shape.sequence) AS s
    """
  }

  /// Step 2. The transactions that hold RowExclusiveLock on the sequence or on the event table, in this database.
  package var holdersStatement: SQL {
    """
    SELECT virtualtransaction AS transaction, max(pid) AS pid,
           bool_or(relation = \(shape.sequenceOID)::oid) AS on_sequence,
           bool_or(relation = \(shape.eventsOID)::oid) AS on_events
      FROM pg_catalog.pg_locks
     WHERE locktype = 'relation' AND database = \(shape.databaseOID)::oid AND mode = 'RowExclusiveLock' AND granted
       AND relation IN (\(shape.sequenceOID)::oid, \(shape.eventsOID)::oid)
       AND pid IS DISTINCT FROM pg_backend_pid()
     GROUP BY virtualtransaction
    """
  }

  package func numbers(_ session: Session) async throws -> Numbers {
    try decodeNumbers(try await session.prepared(numbersStatement, timeout: .seconds(30)))
  }

  /// Steps 1 and 2 in one round trip; each statement in a pipeline still has its own snapshot, taken in order.
  ///
  /// - Parameter era: reads whether the numbers are still those on record.
  /// - Returns: the result of `era` too.
  /// - Throws: ``Problem`` if the store is no longer the one that was looked up.
  package func numbersAndHolders(_ session: Session, era: SQL) async throws -> (Numbers, [Holder], ResultSet) {
    // The identity comes last: an identifier never comes back, so if it is the same now, it was the same before. So does the era.
    let results = try await session.pipeline(
      [numbersStatement, holdersStatement, StoreIdentity.statement(schema: shape.schema), era], timeout: .seconds(30))
    try refuseChanged(StoreIdentity.decode(results[2]))
    return (try decodeNumbers(results[0]), try results[1].rows.map(decodeHolder), results[3])
  }

  /// Steps 1 and 2 for a single look.
  package func numbersAndHolders(_ session: Session) async throws -> (Numbers, [Holder]) {
    let (numbers, holders, _) = try await numbersAndHolders(session, era: "SELECT")
    return (numbers, holders)
  }

  /// For ticks that have nothing to prove, because pages read all the same.
  ///
  /// - Throws: ``Problem`` if the store is no longer the one that was looked up.
  package func refuseChanged(_ session: Session) async throws {
    try refuseChanged(try await StoreIdentity.read(session, schema: shape.schema))
  }

  private func refuseChanged(_ identity: StoreIdentity) throws(Problem) {
    guard identity == shape.identity else {
      throw Problem(
        .store(.replaced), "the event table, its sequence or the view tidemark.batch has changed",
        hint: "The daemon looks the store up again on its own.")
    }
  }

  /// Step 3: the runs of numbers in (from, end] without a visible event. The end is `limit`, or the visible event that is the `events`-th
  /// after `from`: the cost grows with the events, not with the distance between numbers.
  ///
  /// One index-only scan of the range just counts, since most ranges are complete; a second one follows if numbers are missing. It
  /// comes later, so it can only see more: a number it does not see was not visible to the first one either.
  package func gaps(
    from: Int64, upTo limit: Int64, events: Int64, _ session: Session
  ) async throws -> (gaps: [ClosedRange<Int64>], end: Int64) {
    let counted = try await session.prepared(
      """
      SELECT count(*), max(seq_id)
        FROM (SELECT seq_id FROM \(raw: shape.store).mt_events WHERE seq_id > \(from) AND seq_id <= \(limit)
               ORDER BY seq_id LIMIT \(events)) AS seen
      """, timeout: .seconds(60)
    ).rows[0]
    let seen = try counted.get(0, as: Int64.self)
    let to = try seen < events ? limit : counted.get(1, as: Int64.self)
    guard seen < to - from else { return ([], to) }
    let rows = try await session.prepared(
      """
      SELECT seq_id + 1 AS first, next - 1 AS last
        FROM (SELECT seq_id, lead(seq_id, 1, \(to)::bigint + 1) OVER (ORDER BY seq_id) AS next
                FROM (SELECT \(from)::bigint AS seq_id
                       UNION ALL
                      SELECT seq_id FROM \(raw: shape.store).mt_events WHERE seq_id > \(from) AND seq_id <= \(to)) AS seen
             ) AS pairs
       WHERE next > seq_id + 1
       ORDER BY 1
      """, timeout: .seconds(60)
    ).rows
    return (try rows.map { try $0.get("first", as: Int64.self)...(try $0.get("last", as: Int64.self)) }, to)
  }

  /// What ``refuseStandby(_:)`` asks, for `Session.ask(ahead:)`.
  package static var standby: SQL { "SELECT pg_is_in_recovery()" }

  /// - Throws: ``Problem`` if the server is a standby, which does not show the locks of the primary.
  package static func refuseStandby(_ session: Session) async throws {
    guard try await !session.execute(standby).rows[0].get(0, as: Bool.self) else {
      throw Problem(
        .store(.standby), "the server is a standby",
        hint: "Connect to the primary: only it shows the locks of writers.")
    }
  }

  /// Describes the session behind each transaction, for the operator.
  package func describe(_ transactions: [String], _ session: Session) async throws -> [String] {
    try await session.execute(
      """
      SELECT coalesce(
               \(raw: LockHolder.words),
               'prepared transaction ' || coalesce((SELECT string_agg(quote_literal(p.gid) || ' of ' || p.owner, ', ')
                                                      FROM pg_catalog.pg_prepared_xacts AS p
                                                     WHERE p.database = current_database()
                                                       AND '-1/' || p.transaction::text = l.virtualtransaction),
                                                   l.virtualtransaction)) AS who
        FROM (SELECT DISTINCT virtualtransaction, pid FROM pg_catalog.pg_locks
               WHERE virtualtransaction = ANY (\(transactions)::text[])) AS l
        LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
       ORDER BY 1
      """
    ).rows.map { try $0.get("who", as: String.self) }
  }

  private func decodeNumbers(_ result: ResultSet) throws -> Numbers {
    let row = result.rows[0]
    let time = try row.get("server_time", as: Double.self)
    return Numbers(
      serverTime: .seconds(time),
      handedOut: try row.get("handed_out", as: Int64.self),
      highestVisible: try row.get("highest_visible", as: Int64.self))
  }

  private func decodeHolder(_ row: Row) throws -> Holder {
    Holder(
      virtualTransaction: try row.get("transaction", as: String.self),
      processID: try row.get("pid", as: Int?.self),
      onSequence: try row.get("on_sequence", as: Bool.self),
      onEvents: try row.get("on_events", as: Bool.self))
  }
}
