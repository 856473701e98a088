package import Postgres

/// The privileges of the daemon's role, checked before the first page.
package enum Privileges {
  /// The missing GRANT statements, ready to run, for the objects that exist.
  ///
  /// Asks the catalogs by object identifier, which works even for a role that may not use the schemas.
  package static func missing(_ session: Session, schema: String) async throws -> [String] {
    var needed: [(schema: String, relation: String, privileges: [String])] = [
      ("tidemark_internal", "", ["USAGE"]), (SearchPath.page, "", ["USAGE"]), (SearchPath.page, "batch", ["SELECT"]),
    ]
    for grant in Role.daemon.grants + Grant.intoMartens(Grant.tablesOfMartens) {
      switch grant.object {
      case .schema(let home): needed.append((home.schema(store: schema), "", grant.privileges))
      case .tables(let home, let names):
        needed += names.map { (home.schema(store: schema), $0, grant.privileges) }
      case .sequence(let home, let name): needed.append((home.schema(store: schema), name, grant.privileges))
      case .functions: break
      }
    }
    var statements: [String] = []
    for item in needed {
      let rows =
        item.relation.isEmpty
        ? try await session.execute(
          """
          SELECT format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, current_user::text) AS statement
            FROM pg_catalog.pg_namespace AS n
           WHERE n.nspname = \(item.schema) AND NOT has_schema_privilege(n.oid, 'USAGE')
          """
        ).rows
        : try await session.execute(
          """
          SELECT format('GRANT %s ON %s%I.%I TO %I', string_agg(p, ', '), CASE WHEN c.relkind = 'S' THEN 'SEQUENCE ' ELSE '' END,
                        n.nspname, c.relname, current_user::text) AS statement
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace, unnest(\(item.privileges)::text[]) AS p
           WHERE n.nspname = \(item.schema) AND c.relname = \(item.relation)
             AND NOT CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, p) ELSE has_table_privilege(c.oid, p) END
           GROUP BY c.relkind, n.nspname, c.relname
          """
        ).rows
      statements += try rows.map { try $0.get("statement", as: String.self) }
    }
    statements += try await session.execute(
      """
      SELECT format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %I TO %I', n.nspname, current_user::text) AS statement
        FROM pg_catalog.pg_namespace AS n
       WHERE n.nspname IN ('tidemark_internal', \(SearchPath.page))
         AND EXISTS (SELECT FROM pg_catalog.pg_proc AS p
                      WHERE p.pronamespace = n.oid AND NOT has_function_privilege(p.oid, 'EXECUTE'))
      """
    ).rows.map { try $0.get("statement", as: String.self) }
    return statements
  }
}
