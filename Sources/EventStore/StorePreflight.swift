package import Postgres
package import Rules

extension Preflight {
  /// Judges the event store as the catalogs have it now.
  ///
  /// - Returns: nil where there is no event table with a sequence; ``StoreShape`` says what is missing.
  /// - Throws: ``Problem`` (`TM220`) with every reason for which the proof does not hold; `PostgresError`.
  package static func pass(
    _ session: Session, schema: String, accepted: Set<Acceptance>
  ) async throws -> Preflight? {
    guard let preflight = try await read(session, schema: schema, accepted: accepted) else { return nil }
    guard preflight.refusals.isEmpty else {
      throw Problem(
        .store(.unproven), preflight.refusals.map(\.message).joined(separator: "; "),
        hint: preflight.refusals.map(\.hint).joined(separator: " "))
    }
    return preflight
  }

  /// The same, without refusing anything.
  package static func read(
    _ session: Session, schema: String, accepted: Set<Acceptance> = []
  ) async throws -> Preflight? {
    try await StoreFactsLookUp.read(session, schema: schema).map { Preflight($0, accepted: accepted) }
  }
}
