package import Postgres
package import Rules

extension PassedNumbers {
  /// Looks at the last numbers below the mark, in one statement and so in one snapshot: an index-only scan of ``width`` numbers at most.
  ///
  /// - Parameter mark: proven before this call.
  /// - Returns: nil if no number is below the mark.
  package static func look(below mark: Int64, _ shape: StoreShape, _ session: Session) async throws -> PassedNumbers? {
    let from = max(0, mark - width)
    guard from < mark else { return nil }
    let rows = try await session.prepared(
      """
      SELECT NULL AS shard, seq_id + 1 AS first, next - 1 AS last
        FROM (SELECT seq_id, lead(seq_id, 1, \(mark)::bigint + 1) OVER (ORDER BY seq_id) AS next
                FROM (SELECT \(from)::bigint AS seq_id
                       UNION ALL
                      SELECT seq_id FROM \(raw: shape.store).mt_events WHERE seq_id > \(from) AND seq_id <= \(mark)) AS seen
             ) AS pairs
       WHERE next > seq_id + 1
       UNION ALL
      SELECT name, coalesce(last_seq_id, 0), NULL FROM \(raw: shape.store).mt_event_progression
      """, timeout: .seconds(60)
    ).rows
    var look = PassedNumbers(numbers: from + 1...mark, gaps: [], positions: [:])
    for row in rows {
      let first = try row.get("first", as: Int64.self)
      if let shard = try row.get("shard", as: String?.self) {
        look.positions[shard] = first
      } else {
        look.gaps.append(first...(try row.get("last", as: Int64.self)))
      }
    }
    return look
  }
}
