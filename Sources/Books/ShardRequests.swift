package import Postgres
package import Rules

/// The requests of operators for shards, as rows that every node obeys, so they outlast restarts.
///
/// Requests to run, pause or stop are in `tidemark.shard`; those for rebuilds in ``RebuildTable``.
package struct ShardRequests: Sendable {
  package struct Entry: Sendable, Hashable {
    package var request: OperatorRequest
    /// Whether a rebuild waits for a node.
    package var wantsRebuild: Bool
  }

  package init() {}

  /// The request for each shard that is known or has a rebuild to do: one query, since every node runs it twice a second.
  package func all(_ session: Session) async throws -> [String: Entry] {
    let rows = try await session.prepared(
      """
      SELECT coalesce(s.name, r.shard) AS name, coalesce(s.desired_serial, 0) AS desired_serial, s.desired_by,
             CASE WHEN s.desired_until <= clock_timestamp() THEN 'run' ELSE coalesce(s.desired, 'run') END AS desired,
             extract(epoch FROM s.desired_until - clock_timestamp())::float8 AS seconds_left, r.shard IS NOT NULL AS wants_rebuild
        FROM tidemark.shard AS s
        FULL JOIN (SELECT shard FROM tidemark.rebuild WHERE by_node AND (is_aborting OR state IN ('asked', 'replaying'))) AS r
          ON r.shard = s.name
      """
    ).rows
    return try rows.reduce(into: [:]) { all, row in
      all[try row.get("name", as: String.self)] = Entry(
        request: OperatorRequest(
          OperatorRequest.Kind(rawValue: try row.get("desired", as: String.self)) ?? .run,
          left: try row.get("seconds_left", as: Double?.self).map { .seconds($0) },
          by: try row.get("desired_by", as: String?.self), serial: try row.get("desired_serial", as: Int64.self)),
        wantsRebuild: try row.get("wants_rebuild", as: Bool.self))
    }
  }

  /// Records a request for each shard.
  ///
  /// - Parameter length: of a pause; nil for until the next request.
  /// - Returns: the number of the request for each shard.
  @discardableResult
  package func write(
    _ kind: OperatorRequest.Kind, for length: Duration? = nil, shards: [String], by: String, _ session: Session
  )
    async throws -> [String: Int64]
  {
    let seconds = length.map { $0 / .seconds(1) }
    let results = try await session.pipeline(
      shards.map { name in
        """
        INSERT INTO tidemark.shard AS s (name, desired, desired_until, desired_by, desired_serial)
        VALUES (\(name), \(kind.rawValue), clock_timestamp() + \(seconds)::float8 * interval '1 second', \(by), 1)
        ON CONFLICT (name) DO UPDATE
           SET desired = excluded.desired, desired_until = excluded.desired_until, desired_by = excluded.desired_by,
               desired_serial = s.desired_serial + 1
        RETURNING desired_serial
        """
      })
    return try zip(shards, results).reduce(into: [:]) {
      $0[$1.0] = try $1.1.rows[0].get("desired_serial", as: Int64.self)
    }
  }

  /// What has become of the requests for some shards.
  package struct Answer: Sendable, Hashable {
    /// The number of the latest request that was carried out.
    package var obeyed: Int64
    package var condition: String
    package var reason: String?
    /// The node that wrote this last; empty if none has.
    package var node: String
    /// Whether a live node has the shard in its settings.
    package var hasNode: Bool
  }

  package func answers(of shards: [String], _ session: Session) async throws -> [String: Answer] {
    let rows = try await session.prepared(
      """
      SELECT s.name, s.obeyed_serial, s.condition, s.reason, s.node,
             EXISTS (SELECT FROM tidemark.node AS n
                      WHERE (n.mode = 'solo' OR n.shards IS NULL OR s.name = ANY (n.shards))
                        AND tidemark_internal.is_alive(n.lock_key)) AS has_node
        FROM tidemark.shard AS s WHERE s.name = ANY (\(shards)::text[])
      """
    ).rows
    return try rows.reduce(into: [:]) { all, row in
      all[try row.get("name", as: String.self)] = Answer(
        obeyed: try row.get("obeyed_serial", as: Int64.self), condition: try row.get("condition", as: String.self),
        reason: try row.get("reason", as: String?.self), node: try row.get("node", as: String.self),
        hasNode: try row.get("has_node", as: Bool.self))
    }
  }

  /// Records the fingerprint of a shard's current statements. Returns whether it ran with others before.
  ///
  /// - Parameter same: every fingerprint that an earlier program may have recorded for these statements.
  package func remember(_ fingerprint: String, same: [String], of shard: String, _ session: Session) async throws
    -> Bool
  {
    let rows = try await session.execute(
      """
      WITH before AS (SELECT fingerprint FROM tidemark.shard WHERE name = \(shard))
      INSERT INTO tidemark.shard AS s (name, fingerprint) VALUES (\(shard), \(fingerprint))
      ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint
      RETURNING coalesce((SELECT before.fingerprint <> ALL (\(same)::text[]) FROM before), false) AS has_changed
      """
    ).rows
    return try rows[0].get("has_changed", as: Bool.self)
  }
}
