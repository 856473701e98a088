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

  /// The live node that runs a shard; nil if none does.
  package func node(of shard: String, _ session: Session) async throws -> String? {
    try await session.execute(
      """
      SELECT n.name FROM tidemark.shard AS s JOIN tidemark.node AS n ON n.name = s.node
       WHERE s.name = \(shard) AND s.condition <> \(ShardState.ended.rawValue) AND tidemark_internal.is_alive(n.lock_key)
      """
    ).rows.first?.get("name", as: String.self)
  }

  /// The tables that a shard fills and that exist, qualified.
  package func tables(of shard: String, _ session: Session) async throws -> [String] {
    try await session.execute(
      """
      SELECT format('%I.%I', n.nspname, c.relname) AS name
        FROM tidemark.filled_table AS f JOIN pg_catalog.pg_class AS c ON c.oid = f.relation
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
       WHERE f.shard = \(shard) AND f.beside = 'tidemark.shard'::regclass
       ORDER BY 1
      """
    ).rows.map { try $0.get("name", as: String.self) }
  }

  /// Gives all that belongs to a shard which no node runs to another name.
  ///
  /// - Returns: the position.
  /// - Throws: ``Problem`` if the old name has none, or the new name has one.
  package func move(_ old: String, to new: String, shape: StoreShape, _ session: Session) async throws -> Int64 {
    try await session.transaction { session in
      let positions = Positions(shape)
      guard let position = try await positions.lock(old, session) else {
        throw Problem("there is no position of \(old)", hint: "`tidemark list` shows the shards that have one.")
      }
      if let other = try await positions.lock(new, session) {
        throw Problem(
          "\(new) has a position of its own already, \(other)",
          hint:
            "If nothing of it is of use, stop the service and delete the row of \(new) in mt_event_progression first.")
      }
      try await session.execute(
        "UPDATE \(raw: shape.store).mt_event_progression SET name = \(new) WHERE name = \(old) AND \(Positions.isShard)"
      )
      for table in ["dead_letter", "filled_table", "skipped", "rebuild", "position"] {
        try await session.execute("DELETE FROM tidemark.\(raw: table) WHERE shard = \(new)")
        try await session.execute("UPDATE tidemark.\(raw: table) SET shard = \(new) WHERE shard = \(old)")
      }
      // The new serial wakes a shard that waits under the new name.
      try await session.execute("INSERT INTO tidemark.shard (name) VALUES (\(new)) ON CONFLICT DO NOTHING")
      try await session.execute(
        """
        UPDATE tidemark.shard AS n
           SET first_position = o.first_position, fingerprint = o.fingerprint,
               desired_serial = greatest(n.desired_serial, o.desired_serial) + 1
          FROM tidemark.shard AS o
         WHERE n.name = \(new) AND o.name = \(old)
        """)
      try await session.execute("DELETE FROM tidemark.shard WHERE name = \(old)")
      return position
    }
  }

  /// Removes the rows of a shard that no node runs. Returns false if there are none.
  package func forget(_ shard: String, shape: StoreShape, _ session: Session) async throws -> Bool {
    try await session.transaction { session in
      let position = try await session.execute(
        """
        DELETE FROM \(raw: shape.store).mt_event_progression
         WHERE name = \(shard) AND \(Positions.isShard)
        """)
      let letters = try await session.execute(
        "DELETE FROM tidemark.dead_letter WHERE shard = \(shard) RETURNING seq_id")
      let sequences = try letters.rows.map { try $0.get("seq_id", as: Int64.self) }
      try await LetterDocuments(shape).removeIfPermitted(sequences, shard: shard, session)
      for table in ["rebuild", "filled_table", "skipped", "position"] {
        try await session.execute("DELETE FROM tidemark.\(raw: table) WHERE shard = \(shard)")
      }
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
