package import Books
import Daemon
import EventStore
package import Postgres
import ReadModels
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
    var plan = try await ours(session, streamIDType: streamIDType)
    for projection in settings.projections { plan.append(contentsOf: try await tables(of: projection, session)) }
    return plan
  }

  /// The event store and Tidemark's own objects.
  private func ours(_ session: Session, streamIDType: String) async throws -> SchemaPlan {
    var plan = SchemaPlan()
    let shape: StoreShape
    do {
      shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
    } catch let problem as Problem where problem.code == .store(.noStore) {
      plan = .newStore(schema: settings.eventStore.schema, streamIDType: streamIDType)
      shape = .new(schema: settings.eventStore.schema, streamIDType: streamIDType)
    }
    plan.append(contentsOf: try await SchemaPlan.forStore(session, shape: shape, schema: schema, tidies: true))
    return plan
  }

  /// The `setup` of a projection, if one of its tables is missing.
  private func tables(of projection: ProjectionDefinition, _ session: Session) async throws -> SchemaPlan {
    var plan = SchemaPlan()
    guard let setup = projection.setup else { return plan }
    var isMissing = projection.tables.isEmpty
    for table in projection.tables where !isMissing {
      isMissing = try await DeclaredTable(table, of: projection.name).find(session) == nil
    }
    guard isMissing else { return plan }
    plan.append(
      SchemaPlan.Step(
        title: "the tables of projection \(projection.name)",
        script: terminated(setup.text)
          + FilledTables.rememberSetup(
            of: "\(projection.shard)",
            projection.tables.map { ($0, DeclaredTable($0, of: projection.name).readings.map(DeclaredTable.written)) },
            store: SQL.quoted(settings.eventStore.schema)),
        searchPath: SearchPath.text(session.operatorPath.homes)))
    return plan
  }

  /// Creates what is missing, and returns those steps. Each `setup` has a transaction of its own, so that one that fails takes no other
  /// back.
  ///
  /// - Parameters:
  ///   - waits: called about once a second while another session blocks it.
  ///   - made: called for each step that has been committed.
  /// - Throws: ``Problem`` with every `setup` that failed, after all others have run.
  package func install(
    _ session: Session, streamIDType: String, within limit: Duration = Self.patience,
    waits: @Sendable (SchemaWait) async throws -> Void = { _ in }, made: (SchemaPlan.Step) -> Void = { _ in }
  ) async throws -> SchemaPlan {
    let options = ConnectionOptions(settings.database)
    var plan = try await SchemaPlan.apply(session, options, within: limit, waits: waits) {
      try await ours($0, streamIDType: streamIDType)
    }
    plan.steps.forEach(made)
    var failures: [Problem] = []
    for projection in settings.projections where projection.setup != nil {
      do {
        let tables = try await SchemaPlan.apply(session, options, within: limit, waits: waits) {
          try await self.tables(of: projection, $0)
        }
        tables.steps.forEach(made)
        plan.append(contentsOf: tables)
      } catch let error as PostgresError where !error.isConnectionLoss && !error.isCancelled {
        failures.append(failure(error, of: projection, session))
      } catch let problem as Problem where !problem.isOfStore {
        failures.append(problem)
      }
    }
    guard failures.count > 1 else {
      if let only = failures.first { throw only }
      return plan
    }
    throw Problem(
      failures.map(\.placed).joined(separator: "; "), hint: failures.compactMap(\.hint).first,
      source: failures[0].source)
  }

  private func failure(_ error: PostgresError, of projection: ProjectionDefinition, _ session: Session) -> Problem {
    let home = session.operatorPath.homes.first.map { SQL.quoted($0) } ?? "a schema"
    let hint =
      switch error.sqlState {
      case .insufficientPrivilege?:
        "Without a schema, `setup` makes its tables in the first schema of the search path (\(SearchPath.text(session.operatorPath.homes))). As the owner of the database run: GRANT CREATE ON SCHEMA \(home) TO the role; or set search_path for the role."
      case "3F000"?:
        "The role's search_path names no schema that exists: ALTER ROLE … SET search_path = the schema of your read models."
      default: error.hint ?? "Correct `setup`, and run `tidemark init` again. The tables of other projections are made."
      }
    return Problem(
      error.sqlState.map { .sqlState($0.code) } ?? .store(.noPrivilege),
      "the setup of projection \(projection.name) failed: \(error.message)", hint: hint,
      source: projection.setup?.source.offset(in: projection.setup?.text ?? "", by: error.statementPosition),
      key: projection.settingsKey)
  }

  private func terminated(_ script: String) -> String {
    let end = script.lastIndex { !$0.isWhitespace }
    let text = end.map { String(script[...$0]) } ?? ""
    return text.hasSuffix(";") ? text + "\n" : text + "\n;\n"
  }
}
