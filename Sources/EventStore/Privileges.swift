package import Postgres

/// What the daemon's role may do, checked before the first page rather than found out in the middle of one.
package enum Privileges {
  /// The GRANT statements that are missing, ready to run.
  package static func missing(_ session: Session, shape: StoreShape) async throws -> [String] {
    let store = shape.store
    let needed: [(object: String, kind: String, privileges: [String])] = [
      (store, "schema", ["USAGE"]),
      ("tidemark", "schema", ["USAGE"]),
      ("\(store).mt_events", "table", ["SELECT"]),
      (shape.sequence, "sequence", ["SELECT"]),
      ("\(store).mt_event_progression", "table", ["SELECT", "INSERT", "UPDATE"]),
      ("tidemark.batch", "table", ["SELECT"]),
      ("tidemark.high_water", "table", ["SELECT", "INSERT", "UPDATE"]),
      ("tidemark.gap", "table", ["SELECT", "INSERT", "UPDATE", "DELETE"]),
      ("tidemark.dead_letter", "table", ["SELECT", "INSERT", "UPDATE", "DELETE"]),
      ("tidemark.shard", "table", ["SELECT", "INSERT", "UPDATE"]),
    ]
    var statements: [String] = []
    for (object, kind, privileges) in needed {
      let row = try await session.execute(
        """
        SELECT quote_ident(current_user::text) AS role,
               array_to_string(ARRAY(SELECT p FROM unnest(\(privileges)::text[]) AS p
                                      WHERE NOT has_\(raw: kind)_privilege(\(kind == "schema" ? shape.plain(object) : object), p)), ', ') AS missing
        """
      ).rows[0]
      let missing = try row.get("missing", as: String.self)
      guard !missing.isEmpty else { continue }
      let role = try row.get("role", as: String.self)
      statements.append("GRANT \(missing) ON \(kind == "schema" ? "SCHEMA " : kind == "sequence" ? "SEQUENCE " : "")\(object) TO \(role)")
      // Asking about what is inside a schema that may not be used would be an error, not an answer.
      if kind == "schema" { return statements }
    }
    return statements
  }
}

extension StoreShape {
  /// `has_schema_privilege` takes a name without quotes.
  fileprivate func plain(_ object: String) -> String { object == store ? schema : object }
}
