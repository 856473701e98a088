package import Books
import Daemon
import EventStore
package import Postgres
import Rules
package import Settings

/// Performs `init`: creates the event store, Tidemark's schema, and the tables of projections with `setup`.
package struct Installer: Sendable {
  package var settings: Settings
  package var schema: Schema

  package init(settings: Settings, schema: Schema = .current) {
    self.settings = settings
    self.schema = schema
  }

  /// How long ``install(_:streamIDType:within:waits:)`` tries while another session blocks it.
  package static let patience = Duration.seconds(300)

  /// Lists what is missing; reads only.
  package func plan(_ session: Session, streamIDType: String) async throws -> SchemaPlan {
    var plan = SchemaPlan()
    let shape: StoreShape
    do {
      shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
    } catch let problem as Problem where problem.code == .store(.noStore) {
      plan = .newStore(schema: settings.eventStore.schema, streamIDType: streamIDType)
      shape = .new(schema: settings.eventStore.schema, streamIDType: streamIDType)
    }
    plan.append(contentsOf: try await SchemaPlan.forStore(session, shape: shape, schema: schema, tidies: true))
    for projection in settings.projections {
      guard let setup = projection.setup else { continue }
      let missing = try await missingTables(projection.tables, session)
      guard !missing.isEmpty || projection.tables.isEmpty else { continue }
      plan.append(
        SchemaPlan.Step(
          title: "the tables of projection \(projection.name)", script: terminated(setup.text), isOperators: true))
    }
    return plan
  }

  /// Creates what is missing, and returns those steps.
  ///
  /// - Parameter waits: called about once a second while another session blocks it.
  package func install(
    _ session: Session, streamIDType: String, within limit: Duration = Self.patience,
    waits: @Sendable (SchemaWait) async throws -> Void = { _ in }
  ) async throws -> SchemaPlan {
    try await SchemaPlan.apply(session, ConnectionOptions(settings.database), within: limit, waits: waits) {
      try await plan($0, streamIDType: streamIDType)
    }
  }

  private func missingTables(_ tables: [String], _ session: Session) async throws -> [String] {
    try await session.execute(
      "SELECT name FROM unnest(\(tables)::text[]) AS t (name) WHERE to_regclass(name) IS NULL"
    ).rows.map { try $0.get("name", as: String.self) }
  }

  private func terminated(_ script: String) -> String {
    let end = script.lastIndex { !$0.isWhitespace }
    let text = end.map { String(script[...$0]) } ?? ""
    return text.hasSuffix(";") ? text + "\n" : text + "\n;\n"
  }
}
