package import Postgres
package import Rules

/// The events that a rebuild needs and the store no longer has, as far as the store shows it before the rebuild begins: those that it has
/// compacted into rows that the projection does not take, and those that were removed from streams that are still there.
package struct MissingEvents: Sendable, Hashable {
  package struct Streams: Sendable, Hashable {
    package var count: Int64 = 0
    /// A few of them.
    package var examples: [String] = []

    fileprivate var list: String {
      "(\(examples.joined(separator: ", "))\(count > Int64(examples.count) ? ", …" : ""))"
    }
  }

  package var compacted = Streams()
  /// A type of their rows.
  package var type: String?
  /// Streams with fewer events than their version says.
  package var incomplete = Streams()

  package var isNone: Bool { compacted.count + incomplete.count == 0 }

  /// `2 streams are compacted (…), 1 stream lacks events that were removed (…)`; empty if there is none.
  package var words: String {
    var words: [String] = []
    if compacted.count > 0 {
      words.append(
        "\(counted(compacted.count, "stream")) \(compacted.count == 1 ? "is" : "are") compacted \(compacted.list)")
    }
    if incomplete.count > 0 {
      words.append(
        "\(counted(incomplete.count, "stream")) \(incomplete.count == 1 ? "lacks" : "lack") events that were removed \(incomplete.list)"
      )
    }
    return words.joined(separator: ", ")
  }

  /// Reads every event of the range, as the rebuild will.
  ///
  /// - Parameters:
  ///   - first: where the rebuild begins. After an event that is not the first, nothing shows whether those that were removed came later.
  ///   - streams: only these; nil for all.
  ///   - tenants: the same.
  package static func read(
    _ shape: StoreShape, for definition: ProjectionDefinition, after first: Int64, upTo position: Int64,
    streams: [String]?, tenants: [String]?, _ session: Session
  ) async throws -> MissingEvents {
    var missing = MissingEvents()
    let hasTenants = shape.eventColumns.contains("tenant_id") && shape.streamColumns.contains("tenant_id")
    let ofTenants: SQL = hasTenants ? "AND (e.tenant_id::text = ANY (\(tenants)::text[])) IS NOT FALSE" : ""
    let shown =
      definition.archived == .skip && shape.eventColumns.contains("is_archived") ? "AND e.is_archived IS NOT TRUE" : ""
    let rows = try await session.execute(
      """
      SELECT e.stream_id::text AS stream, e.type::text AS type, count(*) OVER () AS streams
        FROM \(raw: shape.store).mt_events AS e
       WHERE e.seq_id > \(first) AND e.seq_id <= \(position) AND e.type LIKE 'Compacted<%'
         AND e.type <> ALL (\(definition.passableCompacted)::text[])
         AND (e.stream_id::text = ANY (\(streams)::text[])) IS NOT FALSE \(ofTenants) \(raw: shown)
         AND \(raw: shape.eventPredicate)
       ORDER BY e.seq_id LIMIT 3
      """
    ).rows
    missing.compacted = try Self.streams(rows)
    missing.type = try rows.first?.get("type", as: String.self)
    guard first == 0, shape.streamColumns.contains("version") else { return missing }
    let tenant = hasTenants ? ", e.tenant_id" : ""
    missing.incomplete = try Self.streams(
      try await session.execute(
        """
        SELECT s.id::text AS stream, count(*) OVER () AS streams
          FROM \(raw: shape.store).mt_streams AS s
          LEFT JOIN (SELECT e.stream_id\(raw: tenant), \(raw: LostEvents.known) AS events
                       FROM \(raw: shape.store).mt_events AS e GROUP BY e.stream_id\(raw: tenant)) AS e
                 ON e.stream_id = s.id\(raw: hasTenants ? " AND e.tenant_id IS NOT DISTINCT FROM s.tenant_id" : "")
         WHERE coalesce(e.events, 0) < s.version AND (s.id::text = ANY (\(streams)::text[])) IS NOT FALSE
           \(hasTenants ? "AND (s.tenant_id::text = ANY (\(tenants)::text[])) IS NOT FALSE" as SQL : "")
         ORDER BY s.id LIMIT 3
        """
      ).rows)
    return missing
  }

  private static func streams(_ rows: ResultSet.Rows) throws -> Streams {
    Streams(
      count: try rows.first?.get("streams", as: Int64.self) ?? 0,
      examples: try rows.map { printable(try $0.get("stream", as: String?.self) ?? "NULL") })
  }
}

extension Problem {
  package init(_ missing: MissingEvents, in definition: ProjectionDefinition) {
    let snapshots = missing.type.map { " \(CompactedRow.hint($0, definition, isRebuild: true))" } ?? ""
    self.init(
      .rebuild(.fewerRows),
      "a rebuild of \(definition.shard) needs events that the store no longer has: \(missing.words)",
      hint:
        "If the rows may go without them, repeat the command with --fewer-rows; `--diff --dry-run` shows first which rows change.\(snapshots)"
    )
  }
}
