/// A session that holds a lock for which one of ours waits, as an operator finds it in `pg_stat_activity`.
package struct LockHolder: Sendable, Hashable, CustomStringConvertible {
  /// 0 for a prepared transaction, which has no process.
  package var processID: Int32
  /// Who it is, since when, and what it runs.
  package var description: String

  /// An SQL expression: describes the session whose row of `pg_stat_activity` has the alias `a`. The server hides most of the row from a
  /// role that is neither the session's own nor a member of `pg_read_all_stats`.
  package static let words = """
    'pid ' || a.pid || ' (' || concat_ws(', ',
      nullif(a.application_name, ''), CASE WHEN a.backend_start IS NOT NULL THEN coalesce(host(a.client_addr), 'local') END, a.usename,
      a.state || coalesce(' since ' || to_char(a.state_change, 'HH24:MI:SS'), ''),
      'in a transaction since ' || to_char(a.xact_start, 'HH24:MI:SS'),
      CASE WHEN a.backend_start IS NULL THEN 'the rest is hidden; it needs pg_monitor' END) || ')'
    """

  /// The sessions that block any of these, without these themselves; empty if none of them waits for a lock.
  package static func blocking(_ processIDs: [Int32], _ session: Session) async throws -> [LockHolder] {
    // The locks are looked up once: between two looks the wait may end.
    try await session.prepared(
      """
      WITH ours AS (SELECT unnest(\(processIDs.map(Int64.init))::bigint[])::integer AS pid),
           waits AS MATERIALIZED (SELECT l.relation FROM pg_catalog.pg_locks AS l JOIN ours ON ours.pid = l.pid WHERE NOT l.granted)
      SELECT b.pid, CASE WHEN b.pid = 0 THEN 'a prepared transaction (see pg_prepared_xacts)'
                  ELSE coalesce(\(raw: words), 'pid ' || b.pid)
                       || CASE WHEN a.state IS NULL THEN ''
                               ELSE ', which ' || CASE WHEN a.state = 'active' THEN 'runs: ' ELSE 'last ran: ' END
                                    || left(regexp_replace(a.query, '\\s+', ' ', 'g'), 200) END END
             || coalesce(' [has ' || (SELECT string_agg(DISTINCT c.relname::text, ', ')
                                        FROM waits AS w JOIN pg_catalog.pg_class AS c ON c.oid = w.relation) || ']', '') AS who
        FROM (SELECT DISTINCT unnest(pg_blocking_pids(ours.pid)) AS pid FROM ours) AS b
        LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = b.pid
       WHERE EXISTS (SELECT FROM waits) AND b.pid NOT IN (SELECT ours.pid FROM ours)
       ORDER BY b.pid
      """, timeout: .seconds(5)
    ).rows.map {
      LockHolder(processID: try $0.get("pid", as: Int32.self), description: try $0.get("who", as: String.self))
    }
  }

  /// The other sessions that hold a lock on a table in a schema, or one on any of these tables that keeps even readers out. For a statement
  /// that has already given up.
  package static func ofTables(in schema: String, orAlone tables: [Int64], _ session: Session) async throws
    -> [LockHolder]
  {
    try await session.execute(
      """
      SELECT DISTINCT coalesce(l.pid, 0) AS pid,
             CASE WHEN l.pid IS NULL THEN 'a prepared transaction (see pg_prepared_xacts)'
                  ELSE coalesce(\(raw: words), 'pid ' || l.pid) END AS who
        FROM pg_catalog.pg_locks AS l
        JOIN pg_catalog.pg_class AS c ON c.oid = l.relation JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
       WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
         AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
         AND (n.nspname = \(schema) OR (c.oid = ANY (\(tables)::bigint[]::oid[]) AND l.mode = 'AccessExclusiveLock'))
       ORDER BY 1
      """
    ).rows.map {
      LockHolder(processID: try $0.get("pid", as: Int32.self), description: try $0.get("who", as: String.self))
    }
  }

  /// A session that holds an advisory lock in this database; nil if none does any more.
  package static func ofAdvisoryLock(_ key: Int64, _ session: Session) async throws -> LockHolder? {
    try await session.execute(
      """
      SELECT l.pid, coalesce(\(raw: words), 'pid ' || l.pid) AS who
        FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
       WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
         AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
         AND (l.classid::bigint << 32 | l.objid::bigint) = \(key)
      """
    ).rows.first.map {
      LockHolder(processID: try $0.get("pid", as: Int32.self), description: try $0.get("who", as: String.self))
    }
  }
}
