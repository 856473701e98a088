import Books
import ReadModels
import EventStore
import Postgres
import Rules
import Telemetry

/// The rebuild of a plugin with effects outside the database: it is handed every event again, up to where its live shard stands.
///
/// There is nothing to exchange, and nothing that could be taken back. The live shard stands still meanwhile, so that the events of the one
/// reach the plugin before those of the other; its position stays what it is. The progress is the rebuild's own position, so a run that is
/// cut off goes on where it was: each event at least once.
struct ReplayRebuild: Sendable {
  let runner: RebuildRunner

  func run(_ row: RebuildTable.Row) async throws {
    try await runner.holding { try await runner.pool().closing { try await replay(row, $0) } }
  }

  private func replay(_ row: RebuildTable.Row, _ pool: SessionPool) async throws {
    let began = ContinuousClock.now
    if row.chosenWay != .replay {
      try await pool.withSession { [runner] session in
        let first = try await runner.firstPosition(session)
        try await session.transaction { session in
          try await RebuildTable().beginReplay(row, after: first, node: runner.node, session)
        }
      }
    }
    let target = PageTarget.rebuild(
      id: row.id, worker: 0, shard: runner.shard, schema: ShadowTables.schema(of: runner.shard), originals: [])
    try await runner.withWorker(row, target, pool) { [runner] worker in
      var end: Int64?
      while end == nil {
        let reached = try await pool.withSession { session in
          guard let live = try await Positions(runner.shape).read(runner.shard, session) else {
            throw Problem(nothingAppliedBy: runner.shard)
          }
          try await RebuildTable().progress(row.id, target: live, session)
          return live
        }
        try await worker.replay(to: reached)
        end = try await pool.withSession { try await conclude(row, upTo: reached, $0) }
      }
      runner.observer.observe(
        .rebuildExchanged(
          runner.definition.shard, position: end!, way: .replay, reason: "its effects are outside the database",
          took: ContinuousClock.now - began))
    }
  }

  /// The dead letters are those of the replay from here on.
  ///
  /// - Returns: nil where the live shard has gone on after all, and its events are still to be handed over.
  private func conclude(_ row: RebuildTable.Row, upTo target: Int64, _ session: Session) async throws -> Int64? {
    try await session.transaction { [runner] session in
      guard let live = try await Positions(runner.shape).lock(runner.shard, session) else {
        throw Problem(nothingAppliedBy: runner.shard)
      }
      guard live <= target else { return nil }
      try await session.execute(
        """
        SELECT tidemark_internal.take_over_letters(\(row.id), \(runner.shard), \(PageTarget.letters(ofRebuildOf: runner.shard)),
                                          \(runner.definition.takes), \(live))
        """)
      try await RebuildTable().end(row.id, .done, position: live, comparison: nil, session)
      return live
    }
  }
}
