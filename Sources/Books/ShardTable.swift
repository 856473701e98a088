package import EventStore
package import Postgres
package import Rules

/// The state of each shard, in `tidemark.shard`, for `status` and for plain SQL.
package struct ShardTable: Sendable {
  package struct Health: Sendable, Hashable {
    package var name: String
    /// The word for a ``ShardState``, or one that a newer program wrote.
    package var condition: String
    package var reason: String?
    /// The recent rate, in sequences a second.
    package var rate: Double
    package var node: String
    /// The number of the latest request that the node has carried out.
    package var obeyed: Int64
    /// When the condition began, as PostgreSQL writes a `timestamptz`.
    package var since: String?
    /// How long ago a node last wrote the row.
    package var age: Duration?

    package init(name: String, state: ShardState, reason: String?, rate: Double, node: String, obeyed: Int64 = 0) {
      self.init(name: name, condition: state.rawValue, reason: reason, rate: rate, node: node, obeyed: obeyed)
    }

    fileprivate init(
      name: String, condition: String, reason: String?, rate: Double, node: String, obeyed: Int64 = 0
    ) {
      self.name = name
      self.condition = condition
      self.reason = reason
      self.rate = rate
      self.node = node
      self.obeyed = obeyed
    }
  }

  package init() {}

  package func write(_ health: [Health], _ session: Session) async throws {
    guard !health.isEmpty else { return }
    // Behind a session that holds a row, the requests of operators would wait too: they have the same session.
    let statements: [SQL] =
      ["SELECT set_config('lock_timeout', '2s', true)"]
      + health.map { row in
        """
        INSERT INTO tidemark.shard AS s (name, condition, reason, rate, node, obeyed_serial)
        VALUES (\(row.name), \(row.condition), \(row.reason), \(row.rate), \(row.node), \(row.obeyed))
        ON CONFLICT (name) DO UPDATE
           SET condition = excluded.condition, reason = excluded.reason, rate = excluded.rate, node = excluded.node,
               obeyed_serial = excluded.obeyed_serial,
               since = CASE WHEN (s.condition, s.node) = (excluded.condition, excluded.node) THEN s.since ELSE now() END, updated_at = now()
         -- Once another node runs the shard, its previous node must not overwrite the row.
         WHERE excluded.condition <> \(ShardState.ended.rawValue) OR s.node = excluded.node OR s.node = ''
        """
      }
    _ = try await session.pipeline(statements)
  }

  /// Removes the rows of a shard that no node runs. Returns false if there are none.
  package func forget(_ shard: String, shape: StoreShape, _ session: Session) async throws -> Bool {
    try await session.transaction { session in
      let position = try await session.execute(
        """
        DELETE FROM \(raw: shape.store).mt_event_progression
         WHERE name = \(shard) AND \(Positions.isShard)
        """)
      try await session.execute("DELETE FROM tidemark.dead_letter WHERE shard = \(shard)")
      try await session.execute("DELETE FROM tidemark.rebuild WHERE shard = \(shard)")
      let health = try await session.execute("DELETE FROM tidemark.shard WHERE name = \(shard)")
      return position.affectedRows + health.affectedRows > 0
    }
  }

  package func all(_ session: Session) async throws -> [String: Health] {
    let rows = try await session.execute(
      """
      SELECT name, condition, reason, rate, node,
             to_char(since, 'YYYY-MM-DD HH24:MI:SS') AS since,
             extract(epoch FROM clock_timestamp() - updated_at)::float8 AS age
        FROM tidemark.shard
      """
    ).rows
    return try rows.reduce(into: [:]) { all, row in
      var health = Health(
        name: try row.get("name", as: String.self), condition: try row.get("condition", as: String.self),
        reason: try row.get("reason", as: String?.self), rate: try row.get("rate", as: Double.self),
        node: try row.get("node", as: String.self))
      health.since = try row.get("since", as: String?.self)
      health.age = .seconds(max(0, try row.get("age", as: Double.self)))
      all[health.name] = health
    }
  }
}
