package import Postgres
package import Rules

/// The events that a rebuild does not get, though the shard may have applied them: archived or marked since, or removed from the store.
package struct LostEvents: Sendable, Hashable {
  package var archived: Int64
  package var marked: Int64
  /// Streams with fewer events than their version says.
  package var incompleteStreams: Int64

  package var isNone: Bool { archived + marked + incompleteStreams == 0 }

  /// `2 events are archived, 1 stream lacks events`; empty if there is none.
  package var words: String {
    var words: [String] = []
    if archived > 0 { words.append("\(counted(archived, "event")) \(archived == 1 ? "is" : "are") archived") }
    if marked > 0 {
      words.append("\(counted(marked, "event")) \(marked == 1 ? "is" : "are") marked as skipped in the event store")
    }
    if incompleteStreams > 0 {
      words.append(
        "\(counted(incompleteStreams, "stream")) \(incompleteStreams == 1 ? "lacks" : "lack") events that were removed"
      )
    }
    return words.joined(separator: ", ")
  }

  /// The events of a stream that are there, or in the snapshot that stands for them.
  static let known = "count(*) + coalesce(min(e.version) FILTER (WHERE e.type LIKE 'Compacted<%'), 1) - 1"

  /// Reads every event; only for a rebuild that is about to take rows away.
  ///
  /// - Parameters:
  ///   - first: where the shard begins.
  ///   - position: where the rebuild ends.
  package static func read(
    _ shape: StoreShape, after first: Int64, upTo position: Int64, types: [String]?, archived: Archived,
    _ session: Session
  ) async throws -> LostEvents {
    try await session.execute("SELECT set_config('tidemark.archived', \(archived.rawValue), true)")
    let hidden = try await session.execute(
      """
      SELECT count(*) FILTER (WHERE reason = 'archived') AS archived, count(*) FILTER (WHERE reason = 'marked') AS marked
        FROM (SELECT \(raw: shape.skipReason) AS reason FROM \(raw: shape.store).mt_events AS e
               WHERE e.seq_id > \(first) AND e.seq_id <= \(position) AND (e.type = ANY (\(types)::text[])) IS NOT FALSE) AS e
      """
    ).rows[0]
    let tenant = shape.eventColumns.contains("tenant_id") && shape.streamColumns.contains("tenant_id")
    let streams =
      shape.streamColumns.contains("version")
      ? try await session.execute(
        """
        SELECT count(*) AS streams
          FROM \(raw: shape.store).mt_streams AS s
          LEFT JOIN (SELECT e.stream_id\(raw: tenant ? ", e.tenant_id" : ""), \(raw: known) AS events FROM \(raw: shape.store).mt_events AS e
                      GROUP BY e.stream_id\(raw: tenant ? ", e.tenant_id" : "")) AS e
                 ON e.stream_id = s.id\(raw: tenant ? " AND e.tenant_id IS NOT DISTINCT FROM s.tenant_id" : "")
         WHERE coalesce(e.events, 0) < s.version
        """
      ).rows[0].get("streams", as: Int64.self) : 0
    return LostEvents(
      archived: try hidden.get("archived", as: Int64.self), marked: try hidden.get("marked", as: Int64.self),
      incompleteStreams: streams)
  }
}

extension Problem {
  /// - Parameter losses: what would be fewer, in words for each table.
  package init(fewerRows losses: [String], _ lost: LostEvents, in definition: ProjectionDefinition) {
    let cause = lost.isNone ? "" : " (\(lost.words))"
    let keeping = lost.archived > 0 ? " \(definition.settingsKey).archived = \"keep\" applies archived events." : ""
    self.init(
      .rebuild(.fewerRows), losses.joined(separator: "; ") + cause,
      hint:
        "`tidemark rebuild \(definition.name) --diff --dry-run` shows which rows. If they may go, repeat the command with --fewer-rows; if not, end it with --abort.\(keeping)"
    )
  }
}
