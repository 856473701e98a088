import Books
import Daemon
package import EventStore
package import Postgres
package import Rules

/// Checks in the database whether projections could start now, and whether their positions and tables belong together.
package struct StartCheck: Sendable {
  package let shape: StoreShape

  package init(shape: StoreShape) { self.shape = shape }

  /// Warnings about statements whose result depends on the width of the page.
  package static func widthWarnings(_ projections: [ProjectionDefinition]) -> [Problem] {
    projections.flatMap(\.widthDependences)
  }

  /// Takes a second if a projection with `start = "inline-handover"` has no position yet.
  package func findings(
    _ projections: [ProjectionDefinition], _ session: Session
  ) async throws -> [Problem] {
    try await sharedTables(projections, session) + mismatches(projections, session) + writers(projections, session)
  }

  /// Projections that fill one table under two names, such as `trip` and `public.trip`. The settings refuse two equal names.
  private func sharedTables(
    _ projections: [ProjectionDefinition], _ session: Session
  ) async throws -> [Problem] {
    var owners: [Int64: ProjectionDefinition] = [:]
    var findings: [Problem] = []
    for projection in projections {
      for table in try await FilledTables(shape).look(
        try await projection.found(session), of: "\(projection.shard)", session)
      {
        guard let other = owners[table.oid] else {
          owners[table.oid] = projection
          continue
        }
        findings.append(
          Problem(
            .settings(.conflict), "the table \(table.name) is one that the projection \(other.name) declares too",
            hint: "Let one projection fill it, or give each a table of its own.", source: projection.source,
            key: projection.settingsKey))
      }
    }
    return findings
  }

  private func mismatches(
    _ projections: [ProjectionDefinition], _ session: Session
  ) async throws -> [Problem] {
    let declared = projections.map { "\($0.shard)" }
    var findings: [Problem] = []
    for projection in projections {
      if let missing = try await missing(projection, session) { findings.append(missing) }
      let check = TableCheck(projection, declared: declared, shape: shape)
      guard var problem = try await check.problem(session) else { continue }
      problem.source = projection.source
      problem.key = projection.settingsKey
      findings.append(problem)
    }
    return findings
  }

  /// A table that `setup` would make anew, and empty, under a position that says it has rows.
  private func missing(_ projection: ProjectionDefinition, _ session: Session) async throws -> Problem? {
    guard let position = try await Positions(shape).read("\(projection.shard)", session), position > 0 else {
      return nil
    }
    let found = Set(try await projection.found(session).map(\.name))
    guard let table = projection.tables.first(where: { !found.contains($0) }) else { return nil }
    return Problem(
      .rebuild(.noTables), "the table \(table) does not exist, and \(projection.shard) is at \(position)",
      hint:
        "Run `tidemark init`, which makes the table anew, empty, and then `tidemark rebuild \(projection.name)`, which fills it.",
      source: projection.source, key: projection.settingsKey)
  }

  private func writers(
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
