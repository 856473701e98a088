/// Whether a shard's position is where Tidemark itself left it: judged before a shard applies a page, and before a rebuild.
///
/// The positions of all programs share one table, and a program may write a row without a lock: a host that rebuilds its own projection of
/// the same name, or a person. From such a position pages count events twice, or leave them out. So Tidemark keeps a record of its own beside
/// the row, in the same transaction, and trusts the row only while both say the same.
package enum Continuity: Sendable, Hashable {
  /// Neither has a position.
  case new
  /// Only the row has: it is from before the record, or another program brought the shard there.
  case adopted(Int64)
  case same(Int64)
  /// Another program wrote the row.
  case moved(from: Int64, to: Int64)
  /// Another program deleted the row.
  case gone(Int64)
  /// The record says that the tables belong to no position any more.
  case stale(row: Int64?)

  /// What Tidemark has on record.
  package struct Record: Sendable, Hashable {
    package var position: Int64
    /// The numbers of the event store have begun anew since.
    package var isStale: Bool

    package init(_ position: Int64, isStale: Bool = false) {
      self.position = position
      self.isStale = isStale
    }
  }

  /// - Parameter row: the position in the progression; nil if it has none.
  package init(row: Int64?, record: Record?) {
    switch (row, record) {
    case (nil, nil): self = .new
    case (let row?, nil): self = .adopted(row)
    case (let row, let record?) where record.isStale: self = .stale(row: row)
    case (nil, let record?): self = .gone(record.position)
    case (let row?, let record?):
      self = row == record.position ? .same(row) : .moved(from: record.position, to: row)
    }
  }

  /// Where the shard continues; nil if it gets a first position, or must wait.
  package var position: Int64? {
    switch self {
    case .adopted(let position), .same(let position): position
    case .new, .moved, .gone, .stale: nil
    }
  }

  /// Why the shard waits, as far as its position alone tells.
  package func problem(_ shard: String) -> Problem? {
    guard case .moved(let left, let found) = self else { return nil }
    let effect = found < left ? "would count a second time" : "would be left out"
    let range = "\(min(left, found) + 1) to \(max(left, found))"
    return Problem(
      .store(.moved),
      "\(shard) is at \(found), and Tidemark left it at \(left): another program moved it, and events \(range) \(effect)",
      hint:
        "Stop what writes this row of mt_event_progression: a host that runs or rebuilds a projection of this name, or a person. Then `tidemark start \(shard) --from-record` continues at \(left), where its tables are; `--from-here` continues at \(found); `tidemark rebuild \(ShardName(parsing: shard)?.projection ?? shard)` fills its tables again."
    )
  }
}
