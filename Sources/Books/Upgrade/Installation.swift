import EventStore
package import Postgres
import Rules

/// The database's record of the schema in it: `tidemark.installation` and `tidemark.schema_number`.
package struct Installation: Sendable {
  /// The number of the schema.
  var number: Int
  var storeSchema: String
  /// A hash of the event store's columns that the view and the functions were made for; nil before number 5.
  var shapeHash: String?
  /// The lowest number of a program that may run beside it; nil if the program that made it did not record one.
  var compatibleFrom: Int?

  /// Nil if Tidemark was never installed.
  ///
  /// - Throws: ``Problem`` if our tables exist without the record of their number.
  static func read(_ session: Session, _ found: SchemaLookUp, tables: [SchemaObject]) async throws -> Installation? {
    func has(_ name: String) -> Bool { tables.contains { $0.name == name && !found.isMissing($0) } }
    guard tables.contains(where: { !found.isMissing($0) }) else { return nil }
    let row =
      has("tidemark.installation")
      ? try await session.execute(
        """
        SELECT i.version, i.store_schema, to_jsonb(i) ->> 'shape_hash' AS shape_hash FROM tidemark.installation AS i
        """
      ).rows.first : nil
    guard let row else {
      throw Problem(
        .store(.schemaBehind),
        "tidemark.installation is missing or empty, so the number of the existing tables is unknown",
        hint:
          "Restore it from a backup. Or, if you can lose dead letters, gaps and requests: DROP SCHEMA tidemark CASCADE, then run `tidemark init`; positions are in the event store and stay."
      )
    }
    let number = try row.get("version", as: Int.self)
    let recorded =
      has("tidemark.schema_number")
      ? try await session.execute(
        "SELECT compatible_from FROM tidemark.schema_number WHERE number = \(number)::integer"
      )
      .rows.first : nil
    return Installation(
      number: number, storeSchema: try row.get("store_schema", as: String.self),
      shapeHash: try row.get("shape_hash", as: String?.self),
      compatibleFrom: try recorded?.get("compatible_from", as: Int.self))
  }

  /// For a program that is older than the schema.
  ///
  /// - Parameter missing: objects that the program uses and the newer schema does not have.
  /// - Throws: ``Problem`` if it may not run beside the schema. It changes nothing either way.
  func refuseOlder(_ schema: Schema, missing: [SchemaObject]) throws(Problem) {
    try Self.refuseAhead(number: number, compatibleFrom: compatibleFrom, schema)
    guard missing.isEmpty else {
      throw Problem(
        .store(.schemaBehind),
        "the schema tidemark is at number \(number) and lacks \(missing.map(\.name).joined(separator: ", "))",
        hint: "Run `tidemark init` with the newer program that the schema belongs to.")
    }
  }

  private static func refuseAhead(number: Int, compatibleFrom: Int?, _ schema: Schema) throws(Problem) {
    guard number > schema.number, compatibleFrom.map({ $0 > schema.number }) ?? true else { return }
    let bound = compatibleFrom.map { ", which admits programs from number \($0) on" } ?? ""
    throw Problem(
      .store(.schemaAhead),
      "the schema tidemark is at number \(number)\(bound); this program, \(schema.program), knows number \(schema.number)",
      hint:
        "Install the Tidemark that made it, or a newer one. A schema never goes back: this program changed nothing.")
  }

  /// For verbs that read or write the schema without a look at its objects. A role that may not read the number is not refused: a program
  /// that may not even read it changes nothing either.
  ///
  /// - Throws: ``Problem`` if a newer program made the schema, and does not admit this one.
  package static func refuseAhead(_ session: Session, schema: Schema = .current) async throws {
    let mayRead = try await session.execute(
      """
      SELECT CASE WHEN has_schema_privilege(to_regnamespace('tidemark'), 'USAGE')
                  THEN has_table_privilege(to_regclass('tidemark.schema_number'), 'SELECT') END AS may
      """
    ).rows[0].get("may", as: Bool?.self)
    guard mayRead == true else { return }
    let newest = try await session.execute(
      "SELECT number, compatible_from FROM tidemark.schema_number ORDER BY number DESC LIMIT 1"
    ).rows.first
    guard let newest else { return }
    try refuseAhead(
      number: try newest.get("number", as: Int.self), compatibleFrom: try newest.get("compatible_from", as: Int?.self),
      schema)
  }

  // MARK: Writing

  static func insert(_ schema: Schema, _ shape: StoreShape) -> String {
    """
    INSERT INTO tidemark.installation (version, store_schema, dialect, shape_hash)
    VALUES (\(schema.number), \(SQL.quoted(literal: shape.schema)), 'marten', '\(shape.hash)');

    \(record([schema.numbers.last!], of: schema))
    """
  }

  static func advance(from number: Int, to schema: Schema, _ shape: StoreShape) -> String {
    """
    UPDATE tidemark.installation SET version = \(schema.number), shape_hash = '\(shape.hash)', updated_at = now();

    \(record(schema.numbers.filter { $0.number > number }, of: schema))
    """
  }

  static func record(_ numbers: [SchemaNumber], of schema: Schema) -> String {
    let rows = numbers.map {
      "(\($0.number), \($0.compatibleFrom), \(SQL.quoted(literal: schema.program)))"
    }
    return """
      INSERT INTO tidemark.schema_number (number, compatible_from, program)
      VALUES \(rows.joined(separator: ",\n       "))
          ON CONFLICT DO NOTHING;

      """
  }

  static func move(to shape: StoreShape) -> String {
    "UPDATE tidemark.installation SET store_schema = \(SQL.quoted(literal: shape.schema)), updated_at = now();\n"
  }

  static func remember(_ shape: StoreShape) -> String {
    "UPDATE tidemark.installation SET shape_hash = '\(shape.hash)', updated_at = now();\n"
  }
}

extension StoreShape {
  /// Changes with everything that the view and the functions depend on.
  var hash: String {
    Fingerprint.text(placeholders.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: "\n"))
  }
}
