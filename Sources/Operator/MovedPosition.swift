package import EventStore
package import Postgres
package import Rules

/// An operator's word about a position that another program moved or deleted, or that the store's new numbers have made meaningless.
///
/// The shard waits for it: only a person knows which of the two, the position or Tidemark's own record, the tables go with.
package struct MovedPosition: Sendable {
  package enum Choice: Sendable, Hashable {
    /// The position as it is now.
    case here
    /// Where Tidemark left the shard.
    case record
  }

  package let shard: String
  package let shape: StoreShape

  package init(of shard: String, shape: StoreShape) {
    self.shard = shard
    self.shape = shape
  }

  /// Makes position and record the same.
  ///
  /// - Returns: where the shard continues, in words.
  /// - Throws: ``Problem`` if there is nothing to choose.
  package func settle(_ choice: Choice, _ session: Session) async throws -> String {
    try await session.transaction { session in
      let positions = Positions(shape)
      switch (try await positions.continuity(of: shard, session), choice) {
      case (.new, _):
        throw Problem("\(shard) has no position, and none is on record", hint: "`tidemark start \(shard)` starts it.")
      case (.same(let position), _): return "continues at \(position), where Tidemark left it"
      case (.adopted(let position), .here), (.moved(_, let position), .here):
        try await session.execute(Positions.record(position, of: shard))
        return "continues at \(position)"
      case (.adopted, .record):
        throw Problem("nothing is on record of \(shard)", hint: "`--from-here` continues at its position.")
      case (.moved(let left, _), .record), (.gone(let left), .record):
        try await positions.write(left, of: shard, session)
        return "continues at \(left), where Tidemark left it"
      case (.gone, .here):
        try await session.execute("DELETE FROM tidemark.position WHERE shard = \(shard)")
        return "begins with its first event"
      case (.stale, .here):
        try await positions.write(0, of: shard, session)
        return "begins with the first event of the new numbers, with the rows that its tables have"
      case (.stale, .record):
        throw Problem(
          "the record of \(shard) is of the numbers before the event store began anew",
          hint: "Use --from-here, or rebuild the projection.")
      }
    }
  }
}
