package import Postgres

/// The settings of the server that bend or end what the daemon's sessions do, where they are not as PostgreSQL ships them: for `check`, so
/// that an operator knows of a limit before a page meets it.
package enum ServerSettingsReport {
  /// One line for each, with its value and where the value comes from.
  package static func lines(_ session: Session) async throws -> [String] {
    let rows = try await session.execute(
      """
      SELECT name, concat(reset_val, unit) AS value, source, current_user::text AS role
        FROM pg_settings
       WHERE name = ANY (\(ServerSettings.namesLeft)::text[]) AND reset_val IS DISTINCT FROM boot_val
       ORDER BY name
      """
    ).rows
    return try rows.compactMap { row in
      let name = try row.get("name", as: String.self)
      guard case .left(let words)? = ServerSettings.treatment(of: name) else { return nil }
      let place =
        switch try row.get("source", as: String.self) {
        case "user", "database user": "of the role \(try row.get("role", as: String.self))"
        case "database": "of the database"
        case "client": "of the connection"
        default: "of the server"
        }
      return "\(name) = \(try row.get("value", as: String.self)) \(place): \(words)"
    }
  }
}
