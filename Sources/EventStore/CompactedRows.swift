package import Postgres
package import Rules

/// Finds rows that stand for compacted events: see ``CompactedRow``.
package enum CompactedRows {
  /// Looks at a page, after the statements that set its filters.
  package static func look(_ page: Page, passable: [String]) -> SQL {
    """
    SELECT seq_id, stream_id, version, type
      FROM tidemark_internal.compacted(\(page.floor), \(page.ceiling), \(passable)::text[]) ORDER BY seq_id
    """
  }

  package static func rows(_ found: ResultSet) throws -> [CompactedRow] {
    try found.rows.map { row in
      CompactedRow(
        sequence: try row.get("seq_id", as: Int64.self), stream: try row.get("stream_id", as: String?.self),
        version: try row.get("version", as: Int64.self), type: try row.get("type", as: String.self))
    }
  }

  /// Before COMMIT: fails the page if one is in it.
  package static func refuse(after floor: Int64, passable: [String]) -> SQL {
    "SELECT tidemark_internal.refuse_compacted(\(floor), \(passable)::text[])"
  }
}
