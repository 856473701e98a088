package import Postgres
package import Rules

/// Whose objects the daemon, and a verb, may run or write to.
///
/// A view or a function of another role runs with the rights of the one who uses it, and a trigger on a table too. So what has our names, or
/// is a part of the event store, must belong to a role that could do as much anyway: a superuser, the owner of the database, the owner of
/// the event table or of its schema, the role of the session itself, or a member of one of these.
package struct Trust: Sendable {
  /// Of the event store, unquoted.
  let schema: String

  package init(schema: String) { self.schema = schema }

  /// Whether the role with this identifier may be trusted.
  ///
  /// - Parameter owner: an expression; 0 stands for PUBLIC.
  func isTrusted(_ owner: String) -> SQL {
    """
    CASE WHEN \(raw: owner) = 0 THEN false ELSE EXISTS (
        SELECT FROM pg_catalog.pg_roles AS tr
         WHERE (tr.rolsuper OR tr.rolname IN (current_user, 'pg_database_owner')
                OR tr.oid = (SELECT td.datdba FROM pg_catalog.pg_database AS td WHERE td.datname = current_database())
                OR tr.oid IN (SELECT unnest(ARRAY[te.relowner, tn.nspowner])
                                FROM pg_catalog.pg_class AS te JOIN pg_catalog.pg_namespace AS tn ON tn.oid = te.relnamespace
                               WHERE tn.nspname = \(schema) AND te.relname = 'mt_events'))
           AND pg_has_role(\(raw: owner), tr.oid, 'MEMBER')) END
    """
  }

  /// What others own, as a statement.
  var others: SQL {
    """
    WITH ours AS (
        SELECT n.oid, n.nspname, n.nspowner FROM pg_catalog.pg_namespace AS n WHERE n.nspname = ANY (\(SearchPath.ownSchemas)::text[])
    ), held (what, of_schema, owner) AS (
        SELECT format('schema %I', o.nspname), true, o.nspowner FROM ours AS o
         UNION ALL
        -- The owner of a schema may drop what is in it. Before the event table exists, nothing speaks for that owner.
        SELECT format('schema %I', n.nspname), true, n.nspowner FROM pg_catalog.pg_namespace AS n WHERE n.nspname = \(schema)
         UNION ALL
        SELECT format('%s %I.%I', CASE c.relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END, o.nspname, c.relname),
               false, c.relowner
          FROM pg_catalog.pg_class AS c JOIN ours AS o ON o.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
         UNION ALL
        SELECT format('function %s', p.oid::regprocedure), false, p.proowner
          FROM pg_catalog.pg_proc AS p JOIN ours AS o ON o.oid = p.pronamespace
         UNION ALL
        SELECT format('%s %I.%I', CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, n.nspname, c.relname), false, c.relowner
          FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname = \(schema) AND c.relname IN ('mt_streams', 'mt_events_sequence', 'mt_event_progression'))
    SELECT h.what, h.of_schema, quote_ident(pg_get_userbyid(h.owner)) AS owner,
           (SELECT quote_ident(pg_get_userbyid(d.datdba)) FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()) AS trusted
      FROM held AS h WHERE NOT \(isTrusted("h.owner"))
     ORDER BY h.of_schema DESC, h.what
    """
  }

  /// What others own of our schemas, and of the tables of the event store that shards rely on.
  ///
  /// - Throws: ``Problem`` that names it.
  package func refuseOthers(_ session: Session) async throws {
    let rows = try await session.execute(others).rows
    guard let first = rows.first else { return }
    let (what, owner) = (try first.get("what", as: String.self), try first.get("owner", as: String.self))
    let trusted = try first.get("trusted", as: String.self)
    let kind = String(what.prefix { $0 != " " })
    let more = rows.count > 1 ? ", and \(rows.count - 1) more objects like it" : ""
    throw Problem(
      .store(.untrusted),
      "\(what) belongs to role \(owner)\(more), which would have its code run with the rights of Tidemark",
      hint:
        "Look at what \(owner) has made, and drop it: DROP \(kind.uppercased()) \(what.dropFirst(kind.count + 1))\(kind == "schema" ? " CASCADE" : ""); or, if that role may be trusted, give all that it owns in this database to the owner of the database: REASSIGN OWNED BY \(owner) TO \(trusted); then run `tidemark init`."
    )
  }

  /// What ``objection(toTable:_:)`` asks.
  package func owner(ofTable oid: Int64) -> SQL {
    """
    SELECT format('%I.%I', n.nspname, c.relname) AS name, quote_ident(pg_get_userbyid(c.relowner)) AS owner,
           quote_ident(current_user) AS role
      FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = \(oid)::oid AND NOT \(isTrusted("c.relowner"))
    """
  }

  /// A read model that another role made may have triggers, which run as the one who writes. Nil for a table of a role that is trusted.
  package func objection(toTable oid: Int64, _ session: Session) async throws -> Problem? {
    try await session.execute(owner(ofTable: oid)).rows.first.map { row in
      let (name, owner) = (try row.get("name", as: String.self), try row.get("owner", as: String.self))
      let role = try row.get("role", as: String.self)
      return Problem(
        "the table \(name) belongs to role \(owner), whose triggers on it run as role \(role)",
        hint: "If \(owner) should not have that right, run as a superuser: ALTER TABLE \(name) OWNER TO \(role);")
    }
  }

  /// Schemas of the operator's search path in which roles may create that nothing speaks for: their functions and operators would run in
  /// statements of projections.
  package func openSchemas(_ session: Session) async throws -> [Problem] {
    let path = session.operatorPath.schemas
    return try await session.execute(
      """
      SELECT quote_ident(n.nspname) AS schema, quote_ident(current_user) AS role,
             string_agg(DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, ', ') AS who
        FROM pg_catalog.pg_namespace AS n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
       WHERE n.nspname = ANY (\(path)::text[]) AND n.nspname <> 'pg_catalog' AND a.privilege_type = 'CREATE' AND NOT \(isTrusted("a.grantee"))
       GROUP BY n.nspname
       ORDER BY array_position(\(path)::text[], n.nspname::text)
      """
    ).rows.map { row in
      let (schema, who) = (try row.get("schema", as: String.self), try row.get("who", as: String.self))
      let role = try row.get("role", as: String.self)
      return Problem(
        "\(who) may create in schema \(schema), which is on the search_path of the projections: their statements may run functions and operators made there, as role \(role)",
        hint:
          "As the owner of the schema run: REVOKE CREATE ON SCHEMA \(schema) FROM \(who); or keep the read models in a schema where nobody else may create, and name it: ALTER ROLE \(role) SET search_path = …;"
      )
    }
  }
}
