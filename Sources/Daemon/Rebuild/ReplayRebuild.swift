import Books
import ReadModels
import EventStore
import Postgres
import Rules
import Telemetry

/// The rebuild of a plugin with effects outside the database: hands it every event again, up to the position of its live shard.
///
/// It exchanges no tables, and its effects cannot be undone. The live shard waits meanwhile, so that the rebuild's events reach the plugin
/// before those of the live shard, whose position does not change. The progress is the rebuild's own position, so an interrupted run
/// continues where it was, and hands over each event at least once.
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

  /// Ends the rebuild; its dead letters replace the shard's.
  ///
  /// - Returns: nil if the live shard has moved on meanwhile, so that its events remain to be handed over.
  private func conclude(_ row: RebuildTable.Row, upTo target: Int64, _ session: Session) async throws -> Int64? {
    try await session.transaction { [runner] session in
      guard let live = try await Positions(runner.shape).lock(runner.shard, session) else {
        throw Problem(nothingAppliedBy: runner.shard)
      }
      guard live <= target else { return nil }
      for setting in runner.definition.archived.settings { try await session.execute(setting) }
      try await session.execute(
        """
        SELECT tidemark_internal.take_over_letters(\(row.id), \(runner.shard), \(PageTarget.letters(ofRebuildOf: runner.shard)),
                                          \(runner.definition.takes), \(live))
        """)
      for statement in LetterDocuments(runner.shape).keep(nil, shard: runner.shard) {
        try await session.execute(statement)
      }
      try await session.execute(Positions.record(live, of: runner.shard))
      try await RebuildTable().end(row.id, .done, position: live, comparison: nil, session)
      return live
    }
  }
}
