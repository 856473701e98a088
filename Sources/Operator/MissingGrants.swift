import Daemon
import Postgres
import ReadModels
import Rules

/// The GRANTs for a statement that the role may not run, ready for the owner.
///
/// The server's error names one object, without its schema, and not the privilege. So the statement is prepared once more, which needs no
/// privileges: the locks show which tables it means, and its words how it uses them.
struct MissingGrants {
  private let sql: SQL
  private let problem: Problem

  init(_ sql: SQL, _ problem: Problem) {
    self.sql = sql
    self.problem = problem
  }

  /// - Parameter path: of the page. Call it in a transaction that is rolled back.
  func look(_ path: PagePath, _ session: Session) async throws -> [String] {
    let schemas = try await schemas(session)
    guard schemas.isEmpty else { return schemas }
    guard problem.code == .sqlState(SQLState.insufficientPrivilege.code) else { return [] }
    try await session.execute(path.enter)
    do {
      try await session.prepare(sql, name: "denied")
    } catch {
      return []
    }
    try await session.execute(SearchPath.set(SearchPath.ours))
    let tables = try await tables(session)
    try await session.script("DEALLOCATE denied")
    return try await tables + functions(session)
  }

  /// Schemas that the role may not use: one that the error names, or one of the path with the table that was not found.
  private func schemas(_ session: Session) async throws -> [String] {
    let path = session.operatorPath.schemas
    let isMissing = problem.code == .sqlState(SQLState.undefinedTable.code)
    return try await session.execute(
      """
      SELECT format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, current_user::text) AS statement
        FROM pg_catalog.pg_namespace AS n
       WHERE NOT has_schema_privilege(n.oid, 'USAGE')
         AND CASE WHEN \(isMissing)
                  THEN n.nspname = ANY (\(path)::text[])
                       AND EXISTS (SELECT FROM pg_catalog.pg_class AS c
                                    WHERE c.relnamespace = n.oid AND position('"' || c.relname || '"' IN \(problem.message)) > 0)
                  ELSE \(problem.message) ~ ('\\m' || regexp_replace(n.nspname, '(\\W)', '\\\\\\1', 'g') || '\\M') END
       ORDER BY 1
      """
    ).rows.map { try $0.get("statement", as: String.self) }
  }

  private func tables(_ session: Session) async throws -> [String] {
    func needed(_ use: SQLText.TableUse) -> [String] { SQLText.privileges(sql.text, use) }
    // Locks of tables behind a view are of no interest: the view's owner needs privileges on them. The statement does not name them.
    return try await session.execute(
      """
      WITH used AS (
          SELECT l.relation AS oid, bool_or(l.mode = 'RowExclusiveLock') AS written, bool_or(l.mode = 'RowShareLock') AS locked,
                 bool_or(l.mode = 'AccessShareLock') AS read
            FROM pg_catalog.pg_locks AS l WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' GROUP BY l.relation),
      needed AS (
          SELECT u.oid, p FROM used AS u, unnest(\(needed(.writes))::text[]) AS p WHERE u.written
           UNION SELECT u.oid, p FROM used AS u, unnest(\(needed(.locksRows))::text[]) AS p WHERE u.locked
           UNION SELECT u.oid, p FROM used AS u, unnest(\(needed(.reads))::text[]) AS p WHERE u.read)
      SELECT format('GRANT %s ON %I.%I TO %I',
                    string_agg(d.p, ', ' ORDER BY array_position(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'], d.p)),
                    n.nspname, c.relname, current_user::text) AS statement
        FROM needed AS d JOIN pg_catalog.pg_class AS c ON c.oid = d.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT has_table_privilege(c.oid, d.p)
         AND position(lower(c.relname) IN lower(\(sql.text))) > 0 AND n.nspname <> 'pg_catalog'
       GROUP BY n.nspname, c.relname
       ORDER BY 1
      """
    ).rows.map { try $0.get("statement", as: String.self) }
  }

  /// Functions that the error names.
  private func functions(_ session: Session) async throws -> [String] {
    try await session.execute(
      """
      SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', p.oid::regprocedure, current_user::text) AS statement
        FROM pg_catalog.pg_proc AS p
       WHERE NOT has_function_privilege(p.oid, 'EXECUTE') AND \(problem.message) LIKE '% ' || replace(p.proname, '_', '\\_')
         AND position(lower(p.proname) IN lower(\(sql.text))) > 0
       ORDER BY 1
      """
    ).rows.map { try $0.get("statement", as: String.self) }
  }

  /// The GRANT on a declared table; nil if the role may read it and, where it must, write it.
  static func onDeclared(_ table: DeclaredTable, writes: Bool, _ session: Session) async throws -> String? {
    guard let found = try await table.find(session) else { return nil }
    return try await session.execute(
      """
      SELECT format('GRANT %s ON %I.%I TO %I', string_agg(p, ', '), n.nspname, c.relname, current_user::text) AS statement
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace,
             unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p
       WHERE c.oid = \(found.oid)::oid AND NOT has_table_privilege(c.oid, p)
         AND (p = 'SELECT' OR (\(writes) AND NOT has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE')))
       GROUP BY n.nspname, c.relname
      """
    ).rows.first?.get("statement", as: String.self)
  }
}
