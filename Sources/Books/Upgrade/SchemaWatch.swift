package import EventStore
package import Postgres

/// Tells whether all our tables, the view and the functions still exist, while nodes run: a migration's CASCADE, or a person, may drop one.
///
/// One look at the catalogs by name, about a millisecond, so that it can be repeated for as long as the daemon lives.
package struct SchemaWatch: Sendable {
  private let objects: [SchemaObject]
  private let number: Int

  package init(_ shape: StoreShape, schema: Schema = .current) {
    objects = schema.tables(for: shape) + schema.objects(for: shape)
    number = schema.number
  }

  /// False if something is missing that this program would make. Nothing is, for this program, in the schema of a newer one.
  package func isWhole(_ session: Session) async throws -> Bool {
    let present = try await session.prepared(SchemaLookUp.presence(of: objects), timeout: .seconds(30)).rows.count
    guard present < objects.count else { return true }
    let exists = try await session.execute("SELECT to_regclass('tidemark.installation') IS NOT NULL").rows[0]
    guard try exists.get(0, as: Bool.self) else { return false }
    let installed = try await session.execute("SELECT max(version) FROM tidemark.installation").rows[0]
    return try installed.get(0, as: Int?.self).map { $0 > number } ?? false
  }
}

extension PostgresError {
  /// A relation, a function, a column or a schema does not exist.
  package var isOfMissingObject: Bool {
    ["42P01", "42883", "42703", "3F000"].contains(sqlState?.code)
  }
}
