package import EventStore
package import Postgres
package import Rules

/// Tells which projections would stop at streams that the store has compacted: before a shard meets one, or a rebuild.
package struct CompactedCheck: Sendable {
  package let shape: StoreShape

  package init(shape: StoreShape) { self.shape = shape }

  /// Reads the streams that say that they are compacted; a store of an older Marten does not say so, and to search all of its events would
  /// take too long.
  package func warnings(_ projections: [ProjectionDefinition], _ session: Session) async throws -> [Problem] {
    guard shape.streamColumns.contains("compacted_version") else { return [] }
    let hasTenants = shape.eventColumns.contains("tenant_id") && shape.streamColumns.contains("tenant_id")
    let rows = try await session.execute(
      """
      SELECT e.type::text AS type, count(*) AS streams
        FROM \(raw: shape.store).mt_streams AS s
       CROSS JOIN LATERAL (SELECT e.type FROM \(raw: shape.store).mt_events AS e
                            WHERE e.stream_id = s.id AND e.version = s.compacted_version
                              \(raw: hasTenants ? "AND e.tenant_id IS NOT DISTINCT FROM s.tenant_id" : "") LIMIT 1) AS e
       WHERE s.compacted_version > 0 AND e.type LIKE 'Compacted<%'
       GROUP BY 1 ORDER BY 1
      """
    ).rows
    var warnings: [Problem] = []
    for row in rows {
      let type = try row.get("type", as: String.self)
      let streams = try row.get("streams", as: Int64.self)
      for projection in projections where !projection.passableCompacted.contains(type) {
        warnings.append(
          Problem(
            "the store has compacted \(counted(streams, "stream")) into rows of type \(type), which \(projection.name) neither takes nor accepts: its shard stops at such a row if it has not applied the events in it, and a rebuild asks first",
            hint: CompactedRow.hint(type, projection), source: projection.source, key: projection.settingsKey))
      }
    }
    return warnings
  }
}
