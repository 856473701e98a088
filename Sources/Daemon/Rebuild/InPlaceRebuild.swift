import Books
import ReadModels
import EventStore
import Postgres
import Rules
import Telemetry

/// A rebuild in place: empties the read model and sets its shard back, in one transaction, then refills it while readers see it.
///
/// For projections whose statements cannot be redirected. The live shard waits meanwhile; its own position is the progress, so an
/// interrupted run continues where it was.
struct InPlaceRebuild: Sendable {
  let runner: RebuildRunner

  /// The number of sequences between two progress reports.
  private static let round: Int64 = 200_000

  func run(_ row: RebuildTable.Row) async throws {
    try await runner.holding { try await fill(row) }
  }

  private func fill(_ row: RebuildTable.Row) async throws {
    let began = ContinuousClock.now
    try await runner.pool().closing { pool in
      let target = if let begun = row.target { begun } else { try await empty(row, pool) }
      try await runner.withWorker(row, .live(shard: runner.shard), pool) { worker in
        var position = try await self.position(pool)
        while position < target {
          try await worker.replay(to: min(target, position + Self.round))
          position = try await self.position(pool)
          let reached = position
          try await pool.withSession { try await RebuildTable().progress(row.id, position: reached, $0) }
        }
      }
      let end = try await position(pool)
      try await pool.withSession { session in
        try await session.transaction { session in
          try await RebuildTable().end(row.id, .done, position: end, comparison: nil, session)
        }
      }
      runner.observer.observe(
        .rebuildExchanged(
          runner.definition.shard, position: end, way: .inPlace, reason: "as asked",
          took: ContinuousClock.now - began))
    }
  }

  private func position(_ pool: SessionPool) async throws -> Int64 {
    try await pool.withSession { [runner] in try await Positions(runner.shape).read(runner.shard, $0) ?? 0 }
  }

  /// Empties the read model; returns the position that the shard had.
  private func empty(_ row: RebuildTable.Row, _ pool: SessionPool) async throws -> Int64 {
    try await pool.withSession { [runner] session in
      let originals = try await OriginalTables.read(runner.definition.tables, of: runner.definition.name, session)
      let first = try await runner.firstPosition(session)
      let shadows = ShadowTables(runner.shape, shard: runner.shard, originals: originals)
      return try await session.transaction { session in
        try await session.script(SessionBounds.unlimited(session, isLocal: true))
        let live = try await shadows.lockPosition(session)
        try await shadows.empty(backTo: first, session)
        try await RebuildTable().beginInPlace(row.id, position: first, target: live, node: runner.node, session)
        try await session.execute(SearchPath.set(SearchPath.text(session.operatorPath.schemas)))
        return live
      }
    }
  }
}
