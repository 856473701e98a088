package import Postgres

/// The nodes that run shards of this store, and the locks by which they are known: `tidemark.node` and `pg_locks`.
///
/// A node is alive while its lock session is: no clock and no heartbeat is asked. A node that was killed is gone the moment the server
/// closes its session.
package struct Membership: Sendable {
  package struct Node: Sendable, Hashable, Encodable {
    package var name: String
    package var version: String
    package var mode: String
    package var since: String
  }

  package init() {}

  /// What a node locks to be known as alive.
  static func lockKey(_ name: String) -> Int64 {
    Int64(bitPattern: UInt64(fingerprint("tidemark node \(name)"), radix: 16)!)
  }

  /// Makes the node known. On its lock session, which keeps it known.
  package func join(_ name: String, version: String, mode: String, _ session: Session) async throws {
    _ = try await session.pipeline([
      // While the session waits on the server, only this lets the server notice that its client is gone.
      "SELECT set_config('client_connection_check_interval', '200ms', false)",
      "SELECT pg_advisory_lock(\(Self.lockKey(name)))",
      """
      INSERT INTO tidemark.node AS n (name, version, mode, lock_key) VALUES (\(name), \(version), \(mode), \(Self.lockKey(name)))
      ON CONFLICT (name) DO UPDATE SET version = excluded.version, mode = excluded.mode, since = now()
      """,
      // Nodes that are gone without a word.
      "DELETE FROM tidemark.node AS n WHERE n.name <> \(name) AND NOT tidemark.is_alive(n.lock_key)",
    ])
  }

  package func leave(_ name: String, _ session: Session) async throws {
    try await session.execute("DELETE FROM tidemark.node WHERE name = \(name)")
  }

  /// Those that live now, by name.
  package func live(_ session: Session) async throws -> [Node] {
    try await session.prepared(
      """
      SELECT n.name, n.version, n.mode, to_char(n.since, 'YYYY-MM-DD HH24:MI:SS') AS since
        FROM tidemark.node AS n WHERE tidemark.is_alive(n.lock_key) ORDER BY n.name
      """
    ).rows.map {
      Node(
        name: try $0.get("name", as: String.self), version: try $0.get("version", as: String.self),
        mode: try $0.get("mode", as: String.self), since: try $0.get("since", as: String.self))
    }
  }

  /// Takes the lock of a shard's leader, without waiting.
  package func lead(_ key: Int64, _ session: Session) async throws -> Bool {
    try await session.prepared("SELECT pg_try_advisory_lock(\(key))").rows[0].get(0, as: Bool.self)
  }

  package func release(_ key: Int64, _ session: Session) async throws {
    try await session.prepared("SELECT pg_advisory_unlock(\(key))")
  }

  /// Who holds a lock, in words for the operator; nil where nobody does any more.
  package func holder(of key: Int64, _ session: Session) async throws -> String? {
    try await session.execute(
      """
      SELECT 'pid ' || l.pid || coalesce(' (' || concat_ws(', ', nullif(a.application_name, ''), coalesce(host(a.client_addr), 'local'),
             a.usename) || ')', '') AS who
        FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
       WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
         AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
         AND (l.classid::bigint << 32 | l.objid::bigint) = \(key)
      """
    ).rows.first?.get("who", as: String.self)
  }
}
