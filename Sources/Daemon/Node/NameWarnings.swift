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
    for projection in projections {
      for name in projection.tables {
        // A name that means two tables is reported where the table is used.
        guard let table = try? await DeclaredTable(name, of: projection.name).find(session),
          let problem = try await trust.objection(toTable: table.oid, session)
        else { continue }
        found.append(problem)
      }
    }
    return found
  }
}
