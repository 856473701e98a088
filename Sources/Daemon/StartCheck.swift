package import EventStore
package import Postgres
package import Projection

/// Asks whether the projections that have no position yet could start now, as far as that depends on more than their settings.
package struct StartCheck: Sendable {
  package let shape: StoreShape

  package init(shape: StoreShape) { self.shape = shape }

  /// Takes a moment where a projection is to take over from the application.
  package func findings(
    _ projections: [ProjectionDefinition], _ session: Session
  ) async throws -> [DefinitionCheck.Finding] {
    let positions = try await Positions(shape).all(session)
    let starting = projections.filter { $0.start == .inlineHandover && positions["\($0.shard)"] == nil }
    guard !starting.isEmpty else { return [] }
    let rest = StoreRest(shape)
    let first = try await rest.look(session)
    if first.writers.isEmpty { try await Task.sleep(for: StoreRest.quiet) }
    let second = try await rest.look(session)
    do {
      try StoreRest.check(first, second)
      return []
    } catch {
      return starting.map {
        DefinitionCheck.Finding(projection: $0.name, source: $0.source, message: "\(error)", hint: error.hint)
      }
    }
  }
}
