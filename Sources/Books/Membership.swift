package import Postgres

/// The nodes that run shards of this store, and the locks that identify them: `tidemark.node` and `pg_locks`.
///
/// A node is alive as long as its lock session is open; no clock or heartbeat is involved. A killed node is no longer alive as soon as
/// the server closes its session.
package struct Membership: Sendable {
  package struct Node: Sendable, Hashable, Encodable {
    package var name: String
    package var version: String
    package var mode: String
    package var since: String
  }

  /// Which other nodes a node admits beside it.
  package enum Exclusivity: Sendable, Hashable {
    /// Others that share the shards.
    case shared
    /// None.
    case none
    /// Any, because the operator said so.
    case any
  }

  package init() {}

  /// - Returns: false if a node that has entered excludes this one.
  package func enter(_ exclusivity: Exclusivity, _ session: Session) async throws -> Bool {
    let attempt: SQL
    switch exclusivity {
    case .shared: attempt = "SELECT pg_try_advisory_lock_shared(\(AdvisoryLocks.exclusivity))"
    case .none: attempt = "SELECT pg_try_advisory_lock(\(AdvisoryLocks.exclusivity))"
    case .any: return true
    }
    return try await session.execute(attempt).rows[0].get(0, as: Bool.self)
  }

  /// Registers the node, on its lock session, for as long as that is open.
  ///
  /// - Returns: false, without a change, if another session is registered by this name.
  package func join(
    _ name: String, version: String, mode: String, shards: [String] = [], _ session: Session
  ) async throws -> Bool {
    let key = AdvisoryLocks.node(name)
    guard try await session.execute("SELECT pg_try_advisory_lock(\(key))").rows[0].get(0, as: Bool.self) else {
      return false
    }
    _ = try await session.pipeline([
      """
      INSERT INTO tidemark.node AS n (name, version, mode, lock_key, shards, schema_number)
      VALUES (\(name), \(version), \(mode), \(key), \(shards), \(Schema.current.number)::integer)
      ON CONFLICT (name) DO UPDATE
         SET version = excluded.version, mode = excluded.mode, shards = excluded.shards, since = now(),
             schema_number = excluded.schema_number
      """,
      // Nodes that ended without leaving.
      "DELETE FROM tidemark.node AS n WHERE n.name <> \(name) AND NOT tidemark_internal.is_alive(n.lock_key)",
    ])
    return true
  }

  /// Ends an earlier session of this very node that the server has not noticed to be dead. It is found by the lock it holds, so a new
  /// session with the same process id is safe.
  package func endFormer(_ processID: Int32, of name: String, _ session: Session) async throws {
    try await session.execute(
      """
      SELECT pg_terminate_backend(l.pid) FROM pg_catalog.pg_locks AS l
       WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid = \(Int(processID))
         AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
         AND (l.classid::bigint << 32 | l.objid::bigint) = \(AdvisoryLocks.node(name))
      """)
  }

  package func declare(_ shards: [String], of name: String, _ session: Session) async throws {
    try await session.execute("UPDATE tidemark.node SET shards = \(shards) WHERE name = \(name)")
  }

  /// Removes the node, while it keeps the locks of its shards: the others then take over.
  package func leave(_ name: String, _ session: Session, timeout: Duration? = nil) async throws {
    _ = try await session.pipeline(
      ["DELETE FROM tidemark.node WHERE name = \(name)", "SELECT pg_advisory_unlock(\(AdvisoryLocks.node(name)))"],
      timeout: timeout)
  }

  /// The live nodes, by name.
  package func live(_ session: Session) async throws -> [Node] {
    try await session.prepared(
      """
      SELECT n.name, n.version, n.mode, to_char(n.since, 'YYYY-MM-DD HH24:MI:SS') AS since
        FROM tidemark.node AS n WHERE tidemark_internal.is_alive(n.lock_key) ORDER BY n.name
      """
    ).rows.map {
      Node(
        name: try $0.get("name", as: String.self), version: try $0.get("version", as: String.self),
        mode: try $0.get("mode", as: String.self), since: try $0.get("since", as: String.self))
    }
  }

  /// A node's view of itself and the others on its lock session.
  package struct View: Sendable {
    /// The shards of each node that shares the store; nil for a node that does not declare any.
    package var nodes: [String: Set<String>?] = [:]
    /// The server's process behind the session.
    package var processID: Int32
  }

  /// The nodes that share the store, for the node itself, many times a second. A lock that it can acquire has no holder; to try it costs
  /// far less than to read `pg_locks`. The end of the statement releases the acquired locks.
  package func view(of name: String, timeout: Duration, _ session: Session) async throws -> View {
    let rows = try await session.prepared(
      """
      SELECT n.name, n.mode, n.shards, pg_backend_pid() AS pid
        FROM tidemark.node AS n
       WHERE CASE WHEN n.name = \(name) THEN true ELSE NOT pg_try_advisory_xact_lock_shared(n.lock_key) END
      """, timeout: timeout
    ).rows
    var view = View(processID: session.processID)
    for row in rows {
      view.processID = try row.get("pid", as: Int32.self)
      guard try row.get("mode", as: String.self) == "hotcold" else { continue }
      let shards = try row.get("shards", as: [String]?.self)
      view.nodes[try row.get("name", as: String.self)] = .some(shards.map { Set($0) })
    }
    return view
  }

  /// Tries the locks of leaders, without waiting; returns those it acquired.
  package func lead(_ keys: [Int64], _ session: Session) async throws -> Set<Int64> {
    guard !keys.isEmpty else { return [] }
    let rows = try await session.prepared(
      "SELECT k.key, pg_try_advisory_lock(k.key) AS is_ours FROM unnest(\(keys)::bigint[]) AS k (key)"
    ).rows
    return try rows.reduce(into: []) {
      if try $1.get("is_ours", as: Bool.self) { $0.insert(try $1.get("key", as: Int64.self)) }
    }
  }

  package func release(_ keys: [Int64], _ session: Session) async throws {
    guard !keys.isEmpty else { return }
    try await session.prepared("SELECT pg_advisory_unlock(k.key) FROM unnest(\(keys)::bigint[]) AS k (key)")
  }

  /// The session that holds the lock of a node's name; nil if none does any more.
  package func holderOfName(_ name: String, _ session: Session) async throws -> LockHolder? {
    try await LockHolder.ofAdvisoryLock(AdvisoryLocks.node(name), session)
  }

  /// A session that holds the lock by which nodes exclude each other; nil if none does any more.
  package func holderOfExclusivity(_ session: Session) async throws -> LockHolder? {
    try await LockHolder.ofAdvisoryLock(AdvisoryLocks.exclusivity, session)
  }
}
