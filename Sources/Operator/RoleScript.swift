package import Books
package import Postgres

/// A group role for each ``Role``, with its grants, as a script for the owner of the database: `tidemark init --roles`.
package enum RoleScript {
  /// Makes the roles that the server lacks, and grants again what they need: safe to run twice, and after an upgrade.
  ///
  /// - Throws: `PostgresError`, for example before `tidemark init` has run.
  package static func text(store: String, _ session: Session) async throws -> String {
    let row = try await session.execute(
      """
      SELECT quote_ident(\(store)) AS store, current_database()::text AS database,
             ARRAY(SELECT rolname::text FROM pg_catalog.pg_roles) AS roles,
             ARRAY(SELECT c.relname::text FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                    WHERE n.nspname = \(store) AND c.relname::text = ANY (\(Grant.tablesOfMartens)::text[])
                    ORDER BY c.relname) AS tables
      """
    ).rows[0]
    let (schema, existing) = (try row.get("store", as: String.self), try row.get("roles", as: [String].self))
    let martens = try row.get("tables", as: [String].self)
    var lines = [
      "-- Group roles of the database, each with what it needs and no more.",
      "-- Give them to the roles that log in: GRANT tidemark_viewer TO ...",
      "-- The daemon also needs what its projections do to their tables. See PRIVILEGES in tidemark(7).",
    ]
    for role in Role.allCases {
      lines += ["", "-- \(role.title)"]
      if !existing.contains(role.groupRole) { lines.append("CREATE ROLE \(role.groupRole) NOLOGIN;") }
      var grants = role.grants
      if role == .daemon, !martens.isEmpty { grants += Grant.intoMartens(martens) }
      lines += grants.map { $0.statement(store: schema, to: role.groupRole) + ";" }
    }
    return lines.joined(separator: "\n")
  }
}
