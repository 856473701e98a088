import ReadModels
package import EventStore
package import Postgres
package import Rules

/// Checks in the database whether projections that have no position yet could start now.
package struct StartCheck: Sendable {
  package let shape: StoreShape

  package init(shape: StoreShape) { self.shape = shape }

  /// Warnings about statements whose result depends on the width of the page.
  package static func widthWarnings(_ projections: [ProjectionDefinition]) -> [Problem] {
    projections.flatMap(\.widthDependences)
  }

  /// Notes on projections that would start on tables which another version of them has filled.
  package func notes(_ projections: [ProjectionDefinition], _ session: Session) async throws -> [String] {
    let positions = try await Positions(shape).all(session)
    var notes: [String] = []
    for projection in projections where positions["\(projection.shard)"] == nil && projection.start.readsThePast {
      let others = positions.filter { name, position in
        position > 0 && ShardName(parsing: name).map { $0.projection == projection.name } ?? false
      }
      guard let other = others.keys.sorted().last,
        let filled = try await OriginalTables.filled(projection.tables, of: projection.name, session).first
      else { continue }
      notes.append(
        "note: \(projection.shard) will apply past events to table \(filled), where \(other) has already applied them. Use other tables for the new version, or keep `version` and run `tidemark rebuild`"
      )
    }
    return notes
  }

  /// Takes a second if a projection with `start = "inline-handover"` has no position yet.
  package func findings(
    _ projections: [ProjectionDefinition], _ session: Session
  ) async throws -> [Problem] {
    let positions = try await Positions(shape).all(session)
    let starting = projections.filter { $0.start == .inlineHandover && positions["\($0.shard)"] == nil }
    guard !starting.isEmpty else { return [] }
    let rest = QuiescenceCheck(shape)
    let first = try await rest.look(session)
    if first.writers.isEmpty { try await Task.sleep(for: QuiescenceCheck.quiet) }
    let second = try await rest.look(session)
    do {
      try QuiescenceCheck.check(first, second)
      return []
    } catch {
      return starting.map {
        var found = error
        found.source = $0.source
        found.key = $0.settingsKey
        return found
      }
    }
  }
}
