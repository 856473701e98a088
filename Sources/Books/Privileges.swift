package import Postgres
import Rules

/// The privileges of the daemon's role, checked before the first page.
package enum Privileges {
  /// - Throws: ``Problem`` (`TM203`) with the statements that grant what is missing.
  package static func refuseMissing(_ session: Session, schema: String) async throws {
    let missing = try await missing(session, schema: schema)
    guard missing.isEmpty else {
      throw Problem(
        .store(.noPrivilege), "the daemon's role lacks privileges on the event store",
        hint: "As the owner of the database run: " + missing.map { "\($0);" }.joined(separator: " "))
    }
  }

  /// The missing GRANT statements, ready to run, for the objects that exist.
  ///
  /// Asks the catalogs by object identifier, which works even for a role that may not use the schemas.
  package static func missing(_ session: Session, schema: String) async throws -> [String] {
    var statements: [String] = []
    for question in questions(schema: schema) {
      statements += try await session.execute(question).rows.compactMap { try $0.get("statement", as: String?.self) }
    }
    return statements
  }

  /// What ``missing(_:schema:)`` asks, for `Session.ask(ahead:)`.
  package static func questions(schema: String) -> [SQL] {
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
    return [
      """
      SELECT CASE WHEN w.relation = ''
                  THEN (SELECT format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, current_user::text)
                          FROM pg_catalog.pg_namespace AS n
                         WHERE n.nspname = w.schema AND NOT has_schema_privilege(n.oid, 'USAGE'))
                  ELSE (SELECT format('GRANT %s ON %s%I.%I TO %I', string_agg(p, ', '), CASE WHEN c.relkind = 'S' THEN 'SEQUENCE ' ELSE '' END,
                                      n.nspname, c.relname, current_user::text)
                          FROM pg_catalog.pg_class AS c
                          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace, unnest(string_to_array(w.privileges, ',')) AS p
                         WHERE n.nspname = w.schema AND c.relname = w.relation
                           AND NOT CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, p) ELSE has_table_privilege(c.oid, p) END
                         GROUP BY c.relkind, n.nspname, c.relname) END AS statement
        FROM unnest(\(needed.map(\.schema))::text[], \(needed.map(\.relation))::text[],
                    \(needed.map { $0.privileges.joined(separator: ",") })::text[]) WITH ORDINALITY AS w (schema, relation, privileges, place)
       ORDER BY w.place
      """,
      """
      SELECT format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %I TO %I', n.nspname, current_user::text) AS statement
        FROM pg_catalog.pg_namespace AS n
       WHERE n.nspname IN ('tidemark_internal', \(SearchPath.page))
         AND EXISTS (SELECT FROM pg_catalog.pg_proc AS p
                      WHERE p.pronamespace = n.oid AND NOT has_function_privilege(p.oid, 'EXECUTE'))
      """,
    ]
  }
}
