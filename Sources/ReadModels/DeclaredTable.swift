package import Postgres
package import Rules

/// A table as an operator declares it in `tables`.
///
/// PostgreSQL folds a name to lower case unless it is quoted, so `Orders` is the table orders. But who declares `tables = ["Orders"]` beside
/// `CREATE TABLE "Orders"` means that one, as do those who write dashes or dots of a name without quotes. So the name is looked up as
/// PostgreSQL reads it and as it stands, along the operator's search path; if both exist, the operator must say which.
package struct DeclaredTable: Sendable, Hashable {
  /// As declared.
  package var name: String
  package var projection: String

  package init(_ name: String, of projection: String) {
    self.name = name
    self.projection = projection
  }

  /// The ways to read the name, the server's first: each a name, or a schema and a name.
  package var readings: [[String]] {
    let folded = SearchPath.identifiers(name, separator: ".")
    guard !name.contains("\"") else { return [folded] }
    let plain = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    return [folded, plain, [name]].filter { (1...2).contains($0.count) && !$0.contains("") }
      .reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }

  /// The ways to read it, in words: `orders or "Orders"`.
  private var words: String { readings.map(Self.written).joined(separator: " or ") }

  /// A name as SQL takes it, quoted where it must be.
  package static func written(_ parts: [String]) -> String {
    parts.map { part in
      let isPlain =
        part.utf8.allSatisfy {
          (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "_")
        } && !(part.utf8.first.map { (0x30...0x39).contains($0) } ?? true)
      return isPlain ? part : SQL.quoted(part)
    }.joined(separator: ".")
  }

  /// A table, or another relation, that the name means.
  package struct Found: Sendable, Hashable {
    package var oid: Int64
    /// Its schema and its name.
    package var parts: [String]

    /// Quoted for SQL.
    package var qualified: String { parts.map { SQL.quoted($0) }.joined(separator: ".") }
  }

  /// Nil if there is none.
  ///
  /// - Throws: ``Problem`` if the name means two tables, or one of ours; `PostgresError`.
  package func find(_ session: Session) async throws -> Found? {
    var found: [Found] = []
    for reading in readings {
      guard let one = try await Self.find(reading, session), !found.contains(one) else { continue }
      found.append(one)
    }
    if let ours = found.first(where: { SearchPath.ownSchemas.contains($0.parts[0]) }) {
      throw Problem(
        .settings(.value), "\(Self.written(ours.parts)) is a table of Tidemark's own",
        hint: "Declare the tables that the projection fills.", key: "projections.\(projection).tables")
    }
    guard found.count <= 1 else {
      throw Problem(
        .settings(.value),
        "\(name) may be the table \(found.map { Self.written($0.parts) }.joined(separator: " or "))",
        hint:
          "Write the name as in SQL, \(found.map { "tables = ['\(Self.written($0.parts))']" }.joined(separator: " or ")).",
        key: "projections.\(projection).tables")
    }
    return found.first
  }

  /// For a table that must exist.
  package var missing: Problem {
    let looked = readings.count > 1 ? " (looked for \(words))" : ""
    return Problem(
      .rebuild(.noTables), "table \(name) of projection \(projection) does not exist\(looked)",
      hint: "Run `tidemark init`.")
  }

  /// What ``find(_:)`` asks, for `Session.ask(ahead:)`.
  package func questions(_ session: Session) -> [SQL] { readings.map { Self.question($0, session) } }

  /// Along the path as the server does it: the system's schema first, and only schemas that the role may use.
  private static func question(_ reading: [String], _ session: Session) -> SQL {
    let path = session.operatorPath.schemas
    let schemas = reading.count == 2 ? [reading[0]] : (path.contains("pg_catalog") ? [] : ["pg_catalog"]) + path
    return """
      SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name
        FROM unnest(\(schemas)::text[]) WITH ORDINALITY AS s (name, place)
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = s.name AND has_schema_privilege(n.oid, 'USAGE')
        JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = \(reading.last!)
       ORDER BY s.place
       LIMIT 1
      """
  }

  private static func find(_ reading: [String], _ session: Session) async throws -> Found? {
    try await session.execute(question(reading, session)).rows.first.map {
      Found(
        oid: try $0.get("oid", as: Int64.self),
        parts: [try $0.get("schema", as: String.self), try $0.get("name", as: String.self)])
    }
  }
}
