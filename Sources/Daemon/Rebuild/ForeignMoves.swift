import Books
import EventStore
import Postgres
import Rules

// A rebuild brings tables and position together, so it may begin at a position that another program moved; but not while that program is at it.

extension RebuildRunner {
  /// Makes sure that no other program runs the shard, and that its position is one at which the rebuild can end.
  ///
  /// A rebuild of everything ends at any position: afterwards the tables belong to it. One of some streams does not.
  func settlePosition(of row: RebuildTable.Row, _ session: Session) async throws {
    try await leaders.refuse(definition.shard, session)
    // Without a lock, so that the rebuild does not wait for the shard's page.
    switch try await Positions(shape).look(shard, session) {
    case .new, .adopted, .same: return
    case .moved, .gone, .stale: break
    }
    let (request, shape, shard) = (row.request, shape, shard)
    try await session.transaction { session in
      let positions = Positions(shape)
      let continuity = try await positions.continuity(of: shard, session)
      switch continuity {
      case .new, .adopted, .same: return
      case .moved, .gone, .stale:
        if request.isPartial || request.upTo != nil {
          throw Problem(
            .rebuild(.nothingApplied), "the position of \(shard) does not say which events its tables contain",
            hint: continuity.problem(shard)?.hint ?? "Rebuild all of it.")
        }
      }
      switch continuity {
      case .gone(let left):
        // Another program deleted it, and the tables are still where Tidemark left them.
        try await positions.write(left, of: shard, session)
      case .stale:
        // The store began anew: the rebuild ends at what is settled by now, and its tables belong to the new numbers.
        try await positions.begin(shard, inNewEraAt: try await MarkTable(shape).restore(session) ?? 0, session)
      case .new, .adopted, .same, .moved: break
      }
    }
  }

  /// The position of the live shard.
  ///
  /// - Parameter last: what it was when the rebuild last looked; nil at its first look.
  /// - Throws: ``Problem`` if another program moves it.
  func live(_ last: inout Continuity?, _ session: Session) async throws -> Int64 {
    let found = try await Positions(shape).look(shard, session)
    let before = last
    last = found
    switch found {
    case .adopted(let position), .same(let position), .stale(.some(let position)): return position
    case .new, .stale(nil): throw Problem(nothingAppliedBy: shard)
    // It was moved before the rebuild, and stands.
    case .moved(_, let position) where before == nil || before == found: return position
    case .moved(let left, let position):
      throw moved(
        "another program moves the position of \(shard): it is at \(position), and Tidemark left it at \(left)")
    case .gone(let left):
      throw moved("another program deleted the position of \(shard), which Tidemark left at \(left)")
    }
  }

  private func moved(_ message: String) -> Problem {
    Problem(
      .rebuild(.otherLeader), message,
      hint:
        "Stop the host that runs or rebuilds a projection of this name, then run `tidemark rebuild \(definition.name)` again."
    )
  }
}
