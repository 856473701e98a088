package import Postgres
package import Rules

/// The requested, running and finished rebuilds: `tidemark.rebuild` and `tidemark.rebuild_worker`.
package struct RebuildTable: Sendable {
  /// An operator's request.
  package struct Request: Sendable, Hashable {
    package var way = RequestedWay.auto
    package var compares = false
    /// False to only look at what would change.
    package var exchanges = true
    /// Whether it may leave fewer rows than there are.
    package var allowsFewer = false
    /// The position to end at; nil for the live shard's.
    package var upTo: Int64?
    package var workers = 1
    /// Nil for all.
    package var streams: [String]?
    package var tenants: [String]?

    package init() {}

    package var isPartial: Bool { streams != nil || tenants != nil }
  }

  package enum State: String, Sendable, Hashable {
    case asked, replaying, compared, done, failed, aborted

    /// A node or a command must continue it.
    package var isOpen: Bool {
      switch self {
      case .asked, .replaying: true
      case .compared, .done, .failed, .aborted: false
      }
    }
  }

  package struct Row: Sendable, Hashable {
    package var id: Int64
    package var shard: String
    package var state: State
    package var byNode: Bool
    package var isAborting: Bool
    package var request: Request
    package var chosenWay: RequestedWay?
    package var wayReason: String?
    package var fingerprint: String
    package var shape: String?
    package var schema: String?
    /// The lowest position of the workers.
    package var position: Int64
    package var target: Int64?
    package var node: String?
    package var error: String?
    package var hint: String?
    /// JSON, an array with an object for each table.
    package var comparison: String?
    /// From its start to its end, or to now.
    package var seconds: Double?

    /// It has unfinished work that the next run can continue.
    package var isHalfDone: Bool {
      schema != nil || ([.inPlace, .replay].contains(chosenWay) && ![.done, .aborted].contains(state))
    }
  }

  package init() {}

  /// The last rebuild of a shard, or nil if there was none.
  package func read(_ shard: String, _ session: Session) async throws -> Row? {
    try await rows("WHERE r.shard = \(shard)", session).first
  }

  package func all(_ session: Session) async throws -> [Row] { try await rows("ORDER BY r.shard", session) }

  /// Requests a rebuild, whose row replaces the previous one; the tables of the previous one must have been removed.
  package func ask(
    _ request: Request, shard: String, fingerprint: String, byNode: Bool, by: String, _ session: Session
  ) async throws {
    try await session.transaction { session in
      try await session.execute("DELETE FROM tidemark.rebuild WHERE shard = \(shard)")
      try await session.execute(
        """
        INSERT INTO tidemark.rebuild (shard, by_node, asked_by, way, compares, exchanges, allows_fewer, up_to, workers, streams, tenants, fingerprint)
        VALUES (\(shard), \(byNode), \(by), \(request.way.rawValue), \(request.compares), \(request.exchanges), \(request.allowsFewer),
                \(request.upTo), \(request.workers)::integer, \(request.streams), \(request.tenants), \(fingerprint))
        """)
    }
  }

  /// Requests that an interrupted rebuild continues, and how it should end.
  package func askAgain(_ id: Int64, _ request: Request, byNode: Bool, by: String, _ session: Session) async throws {
    try await session.execute(
      """
      UPDATE tidemark.rebuild
         SET state = CASE WHEN schema IS NULL AND target IS NULL THEN 'asked' ELSE 'replaying' END, by_node = \(byNode), is_aborting = false,
             asked_by = \(by), way = \(request.way.rawValue), compares = \(request.compares), exchanges = \(request.exchanges),
             allows_fewer = \(request.allowsFewer), error = NULL, hint = NULL, comparison = NULL, finished_at = NULL
       WHERE id = \(id)
      """)
  }

  /// Requests that the node or command at work ends it and removes its tables.
  package func askToAbort(_ id: Int64, byNode: Bool, _ session: Session) async throws {
    try await session.execute("UPDATE tidemark.rebuild SET is_aborting = true, by_node = \(byNode) WHERE id = \(id)")
  }

  package func isAborting(_ id: Int64, _ session: Session) async throws -> Bool {
    let row = try await session.prepared("SELECT is_aborting FROM tidemark.rebuild WHERE id = \(id)").rows.first
    // A missing row was replaced by a new request.
    return try row?.get(0, as: Bool.self) ?? true
  }

  /// Records who works on it now, and clears an earlier error.
  package func takeUp(_ id: Int64, node: String, _ session: Session) async throws {
    try await session.execute(
      "UPDATE tidemark.rebuild SET node = \(node), error = NULL, hint = NULL WHERE id = \(id)")
  }

  /// Records its progress, for `tidemark rebuild` and `status`.
  package func progress(_ id: Int64, target: Int64, _ session: Session) async throws {
    try await session.prepared("UPDATE tidemark.rebuild SET target = \(target) WHERE id = \(id)")
  }

  /// The same for a rebuild without new tables, whose progress is the shard's own position.
  package func progress(_ id: Int64, position: Int64, _ session: Session) async throws {
    try await session.prepared("UPDATE tidemark.rebuild SET position = \(position) WHERE id = \(id)")
  }

  /// Records what delays it, for the same; nil once that is over.
  package func trouble(_ id: Int64, _ text: String?, _ session: Session) async throws {
    try await session.prepared(
      "UPDATE tidemark.rebuild SET error = \(text) WHERE id = \(id) AND state IN ('asked', 'replaying')")
  }

  /// - Parameter target: the position before the tables were emptied.
  package func beginInPlace(
    _ id: Int64, position: Int64, target: Int64, node: String, _ session: isolated Session
  ) async throws {
    try await session.execute(
      """
      UPDATE tidemark.rebuild
         SET state = 'replaying', position = \(position), target = \(target), node = \(node), chosen_way = 'in-place',
             way_reason = 'as asked', started_at = coalesce(started_at, now())
       WHERE id = \(id)
      """)
  }

  /// Writes the workers' positions, in place of those of an earlier start. Inside the transaction that starts the rebuild.
  package func beginWorkers(_ row: Row, after first: Int64, _ session: isolated Session) async throws {
    try await session.execute(
      "DELETE FROM tidemark.dead_letter WHERE shard = \(PageTarget.letters(ofRebuildOf: row.shard))")
    try await session.execute("DELETE FROM tidemark.rebuild_worker WHERE rebuild = \(row.id)")
    try await session.execute(
      """
      INSERT INTO tidemark.rebuild_worker (rebuild, worker, position) SELECT \(row.id), w, \(first) FROM generate_series(0, \(row.request.workers - 1)) AS w
      """)
  }

  package func beginReplay(_ row: Row, after first: Int64, node: String, _ session: isolated Session) async throws {
    try await beginWorkers(row, after: first, session)
    let begun = try await session.execute(
      """
      UPDATE tidemark.rebuild
         SET state = 'replaying', node = \(node), chosen_way = 'replay', way_reason = 'its effects are outside the database',
             started_at = coalesce(started_at, now())
       WHERE id = \(row.id)
      """)
    guard begun.affectedRows == 1 else {
      throw Problem.begunAnew
    }
  }

  package func fail(_ id: Int64, error: String, hint: String?, _ session: Session) async throws {
    try await session.execute(
      """
      UPDATE tidemark.rebuild
         SET state = 'failed', error = \(error), hint = \(hint), finished_at = now(),
             position = coalesce((SELECT min(w.position) FROM tidemark.rebuild_worker AS w WHERE w.rebuild = id), position)
       WHERE id = \(id)
      """)
  }

  /// Ends a comparison; the new tables stay, for an exchange that may follow.
  package func compared(_ id: Int64, position: Int64, comparison: String?, _ session: isolated Session) async throws {
    try await session.execute(
      """
      UPDATE tidemark.rebuild
         SET state = 'compared', position = \(position), comparison = \(comparison)::jsonb, finished_at = clock_timestamp()
       WHERE id = \(id)
      """)
  }

  /// Ends it, after its tables were removed or exchanged. Inside the transaction that did that: no exchange commits once the rebuild is to
  /// be aborted, as where the numbers of the store have begun anew.
  package func end(
    _ id: Int64, _ state: State, position: Int64, comparison: String?, _ session: isolated Session
  ) async throws {
    try await session.execute("DELETE FROM tidemark.rebuild_worker WHERE rebuild = \(id)")
    let ended = try await session.execute(
      """
      UPDATE tidemark.rebuild
         SET state = \(state.rawValue), schema = NULL, is_aborting = false, position = \(position), finished_at = clock_timestamp(),
             error = NULL, hint = NULL,
             comparison = coalesce(\(comparison)::jsonb, comparison)
       WHERE id = \(id) AND (\(state.rawValue) <> 'done' OR NOT is_aborting)
      """)
    guard ended.affectedRows == 1 else {
      throw Problem.begunAnew
    }
  }

  /// Each worker's position, by its number.
  package func workers(_ id: Int64, _ session: Session) async throws -> [Int64] {
    try await session.prepared("SELECT position FROM tidemark.rebuild_worker WHERE rebuild = \(id) ORDER BY worker")
      .rows
      .map { try $0.get(0, as: Int64.self) }
  }

  package func worker(_ id: Int64, _ worker: Int, _ session: Session) async throws -> Int64? {
    try await session.prepared(
      "SELECT position FROM tidemark.rebuild_worker WHERE rebuild = \(id) AND worker = \(worker)::integer"
    ).rows.first?.get(0, as: Int64.self)
  }

  private func rows(_ condition: SQL, _ session: Session) async throws -> [Row] {
    try await session.prepared(
      """
      SELECT r.id, r.shard, r.state, r.by_node, r.is_aborting, r.way, r.compares, r.exchanges, r.allows_fewer, r.up_to, r.workers,
             r.streams, r.tenants, r.chosen_way, r.way_reason, r.fingerprint,
             r.shape, r.schema, r.target, r.node, r.error, r.hint, r.comparison::text AS comparison,
             coalesce((SELECT min(w.position) FROM tidemark.rebuild_worker AS w WHERE w.rebuild = r.id), r.position) AS position,
             extract(epoch FROM coalesce(r.finished_at, clock_timestamp()) - r.started_at)::float8 AS seconds
        FROM tidemark.rebuild AS r \(condition)
      """
    ).rows.map(Self.row)
  }

  private static func row(_ row: Postgres.Row) throws -> Row {
    var request = Request()
    request.way = RequestedWay(rawValue: try row.get("way", as: String.self)) ?? .auto
    request.compares = try row.get("compares", as: Bool.self)
    request.exchanges = try row.get("exchanges", as: Bool.self)
    request.allowsFewer = try row.get("allows_fewer", as: Bool.self)
    request.upTo = try row.get("up_to", as: Int64?.self)
    request.workers = try row.get("workers", as: Int.self)
    request.streams = try row.get("streams", as: [String]?.self)
    request.tenants = try row.get("tenants", as: [String]?.self)
    return Row(
      id: try row.get("id", as: Int64.self), shard: try row.get("shard", as: String.self),
      state: State(rawValue: try row.get("state", as: String.self)) ?? .failed,
      byNode: try row.get("by_node", as: Bool.self), isAborting: try row.get("is_aborting", as: Bool.self),
      request: request, chosenWay: try row.get("chosen_way", as: String?.self).flatMap(RequestedWay.init),
      wayReason: try row.get("way_reason", as: String?.self), fingerprint: try row.get("fingerprint", as: String.self),
      shape: try row.get("shape", as: String?.self), schema: try row.get("schema", as: String?.self),
      position: try row.get("position", as: Int64.self), target: try row.get("target", as: Int64?.self),
      node: try row.get("node", as: String?.self), error: try row.get("error", as: String?.self),
      hint: try row.get("hint", as: String?.self), comparison: try row.get("comparison", as: String?.self),
      seconds: try row.get("seconds", as: Double?.self))
  }
}
