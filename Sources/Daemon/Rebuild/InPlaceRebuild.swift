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
    if row.target == nil { try await refuseHarm(row) }
    try await runner.holding { try await fill(row) }
  }

  /// Before anything is emptied: whether what is emptied is what is filled again, and whether all events are there to fill it.
  private func refuseHarm(_ row: RebuildTable.Row) async throws {
    let (shape, definition) = (runner.shape, runner.definition)
    let others = try await RedirectionCheck(shape: shape).undeclared(definition, runner.options)
    if let first = others.first {
      throw Problem(
        .rebuild(.notEmptied), others.map(\.message).joined(separator: "; "), hint: first.hint, source: first.source)
    }
    try await runner.pool().closing { pool in
      try await pool.withSession { [runner] session in
        let originals = try await OriginalTables.read(definition.tables, of: definition.name, session)
        try ExchangeChoice.refuseObjections(originals.obstacles)
        guard !row.request.allowsFewer else { return }
        guard let live = try await Positions(shape).read(runner.shard, session) else {
          throw Problem(nothingAppliedBy: runner.shard)
        }
        // The rows of an era that is over go anyway.
        if case .stale = try await Positions(shape).look(runner.shard, session) { return }
        let lost = try await runner.lostEvents(upTo: live, session)
        let orphans = try await orphans(of: originals, session)
        guard !lost.isNone || !orphans.isEmpty else { return }
        throw Problem(
          .rebuild(.fewerRows),
          "a rebuild in place of \(runner.shard) may leave fewer rows than there are: "
            + (orphans + (lost.isNone ? [] : [lost.words])).joined(separator: ", "),
          hint:
            "`tidemark rebuild \(definition.name) --diff --dry-run` shows which rows, if its statements can be redirected. If they may go, repeat the command with --fewer-rows."
        )
      }
    }
  }

  /// Rows of streams that have no events any more, in words for each table; only `key` tells which they are.
  private func orphans(of originals: OriginalTables, _ session: Session) async throws -> [String] {
    guard let key = runner.definition.key else { return [] }
    var orphans: [String] = []
    for table in originals.tables where table.columns.contains(key) {
      let rows = try await session.execute(
        """
        SELECT count(*) FROM \(raw: table.qualified) AS t
         WHERE NOT EXISTS (SELECT FROM \(raw: runner.shape.store).mt_events AS e WHERE e.stream_id::text = t.\(identifier: key)::text)
        """
      ).rows[0].get(0, as: Int.self)
      if rows > 0 { orphans.append("\(counted(rows, "row")) of \(table.declared) belong to streams without events") }
    }
    return orphans
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
