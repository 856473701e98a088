package import EventStore
package import Postgres
import ReadModels
package import Rules

/// What other roles may have run by the statements of projections: for the log of the start, and for `check`. ``Trust`` says whom it leaves
/// out.
package struct NameWarnings: Sendable {
  let trust: Trust

  /// - Parameter schema: of the event store.
  package init(schema: String) { trust = Trust(schema: schema) }

  package func all(_ projections: [ProjectionDefinition], _ session: Session) async throws -> [Problem] {
    var found = try await trust.openSchemas(session)
    let names = projections.flatMap { projection in
      projection.tables.map { DeclaredTable($0, of: projection.name) }
    }
    await session.ask(ahead: names.flatMap { $0.questions(session) })
    var tables: [Int64] = []
    for name in names {
      // A name that means two tables is reported where the table is used.
      if let table = try? await name.find(session) { tables.append(table.oid) }
    }
    await session.ask(ahead: tables.map(trust.owner))
    for table in tables {
      if let problem = try await trust.objection(toTable: table, session) { found.append(problem) }
    }
    await session.forgetAnswers()
    return found
  }
}
