import EventStore
import Postgres
import Rules

/// What the database says of the schema in it: `tidemark.installation` and `tidemark.schema_number`.
struct Installation: Sendable {
  /// At which number the schema is.
  var number: Int
  var storeSchema: String
  /// Of the event store's columns as the view and the functions were made for them; nil before number 5.
  var shapeHash: String?
  /// The lowest number whose programs may run beside it; nil where the program that made it did not say.
  var compatibleFrom: Int?

  /// Nil where Tidemark was never installed.
  ///
  /// - Throws: ``Problem`` where tables of ours are there and the record of their number is not.
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
        "tidemark.installation is gone or empty, and with it the number of the tables that are there",
        hint:
          "Restore it from a backup. Or give up dead letters, gaps and requests: DROP SCHEMA tidemark CASCADE, then `tidemark init`; positions are in the event store and stay."
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
  /// - Parameter missing: what the program calls and the newer schema does not have.
  /// - Throws: ``Problem`` where it may not run beside it. It changes nothing either way.
  func refuseOlder(_ schema: Schema, missing: [SchemaObject]) throws(Problem) {
    guard let compatibleFrom, compatibleFrom <= schema.number else {
      let bound = compatibleFrom.map { ", which programs from number \($0) on may run beside" } ?? ""
      throw Problem(
        .store(.schemaAhead),
        "the schema tidemark is at number \(number)\(bound); this program, \(schema.program), knows number \(schema.number)",
        hint:
          "Install the Tidemark that made it, or a newer one. A schema does not go back: this program changed nothing.")
    }
    guard missing.isEmpty else {
      throw Problem(
        .store(.schemaBehind),
        "the schema tidemark is at number \(number) and lacks \(missing.map(\.name).joined(separator: ", "))",
        hint: "Run `tidemark init` of the newer program that the schema belongs to.")
    }
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
  /// Changes with whatever the view and the functions are made for.
  var hash: String {
    Fingerprint.text(words.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: "\n"))
  }
}
