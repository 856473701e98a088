import Books
import ReadModels
import EventStore
import Postgres
import Rules
import Telemetry

/// The closing phase of a rebuild: in one transaction the live shard waits, the rebuild applies the last events, and the new tables replace
/// the old ones.
///
/// The transaction first locks the row of the live position. Every page of the live shard moves that first, so from then on no event is
/// applied to the old tables, and none is lost or applied twice. The rebuild ends at exactly that position, which does not change.
struct RebuildClosing: Sendable {
  let runner: RebuildRunner
  let shadows: ShadowTables
  let filter: RowFilter

  enum Outcome: Sendable {
    case ended
    /// The differences, as JSON, and the position at which they were found.
    case compared(String, at: Int64)
    /// What the exchange would take away; nil if nothing.
    case counted(Problem?)
    /// Rolled back, to be tried again: why.
    case hindered(String)
    /// Rolled back: a page failed, and will be tried again.
    case faltered(Problem)
  }

  /// How long readers wait behind a swap that itself waits for a reader.
  static let readersPatience = Duration.milliseconds(40)
  /// How long to wait, while the live shard waits too, for snapshots from before the new tables were full.
  static let snapshotsPatience = Duration.seconds(1)

  private struct Hindered: Error { var reason: String }

  func run(
    _ row: RebuildTable.Row, _ choice: ExchangeChoice, comparison: String?, _ session: Session,
    replay: @escaping @Sendable (Int64) async throws -> Void
  ) async throws -> Outcome {
    // A plugin may hold a page for the old tables, or remember them: it ends before the exchange, and a new instance starts after it.
    let holds = row.request.upTo != nil || runner.definition.plugin != nil
    return try await outcome(of: row) {
      let began = ContinuousClock.now
      let exchange = {
        try await session.transaction { session in try await close(row, choice, comparison, session, replay) }
      }
      let position = holds ? try await runner.holding(exchange) : try await exchange()
      let took = ContinuousClock.now - began
      runner.observer.observe(
        .rebuildExchanged(
          runner.definition.shard, position: position, way: choice.way.requested, reason: choice.reason, took: took))
      return .ended
    }
  }

  /// Compares old and new tables.
  func compare(
    _ row: RebuildTable.Row, _ session: Session, replay: @escaping @Sendable (Int64) async throws -> Void
  ) async throws -> Outcome {
    try await look(row, session, replay) { looker, position in
      .compared(try await shadows.compare(filter, looker), at: position)
    }
  }

  /// Counts the rows of old and new tables: an operator may not know that events are gone, and nobody misses a row before it is too late.
  func count(
    _ row: RebuildTable.Row, _ session: Session, replay: @escaping @Sendable (Int64) async throws -> Void
  ) async throws -> Outcome {
    try await look(row, session, replay) { looker, position in
      let losses = try await shadows.losses(filter, looker)
      guard !losses.isEmpty else { return .counted(nil) }
      let lost = try await runner.lostEvents(upTo: position, looker)
      return .counted(Problem(fewerRows: losses, lost, in: runner.definition))
    }
  }

  /// Reads old and new tables at one position. The live shard waits until a snapshot has both there, and continues while they are read.
  private func look(
    _ row: RebuildTable.Row, _ session: Session, _ replay: @escaping @Sendable (Int64) async throws -> Void,
    _ body: @Sendable (Session, Int64) async throws -> Outcome
  ) async throws -> Outcome {
    try await outcome(of: row) {
      try await Session.connect(runner.options, threadName: "rebuild").closing { looker in
        try await ShardSessions.prepare(looker, workMemory: runner.workMemory)
        let position = try await session.transaction { session in
          let position = try await catchUp(row, session, replay).target
          try await verify(row, .copy, session)
          try await looker.script(
            """
            BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \(SessionBounds.unlimited(looker, isLocal: true));
            SELECT pg_current_snapshot()
            """)
          return position
        }
        let outcome = try await body(looker, position)
        try await looker.script("COMMIT")
        return outcome
      }
    }
  }

  private func outcome(of row: RebuildTable.Row, _ body: () async throws -> Outcome) async throws -> Outcome {
    do {
      return try await body()
    } catch {
      if let hindered = error as? Hindered { return .hindered(hindered.reason) }
      if let faltered = error as? RebuildWorker.Faltered { return .faltered(faltered.failure) }
      guard let error = error as? PostgresError else { throw error }
      if error.sqlState?.code == RaisedCode.rowsOfOthers.rawValue {
        throw Problem(.rebuild(.noKey), error.message, hint: error.hint)
      }
      switch error.sqlState {
      case .lockNotAvailable, .deadlockDetected: return .hindered(error.message)
      case "23505", "23P01":
        guard !row.request.isPartial else {
          throw Problem(
            .rebuild(.collision), "a new row has the key of an old one that stays: \(error.message)",
            hint: "Nothing was changed. Rebuild all rows, or take the key from the events.")
        }
        // Rows that no foreign key references are deleted before others are inserted.
        throw Problem(
          .rebuild(.collision),
          "values of a unique key move from row to row, and PostgreSQL checks it row by row where foreign keys keep the rows in place: \(error.message)",
          hint:
            "Nothing was changed. Drop the foreign keys to the tables of \(runner.definition.name), run `tidemark rebuild \(runner.definition.name)` again, which continues, and add them again."
        )
      default: throw error
      }
    }
  }

  private func close(
    _ row: RebuildTable.Row, _ choice: ExchangeChoice, _ comparison: String?, _ session: isolated Session,
    _ replay: @escaping @Sendable (Int64) async throws -> Void
  ) async throws -> Int64 {
    let (target, live) = try await catchUp(row, session, replay)
    try await verify(row, choice.way, session)
    if choice.way == .swap { try await outliveSnapshots(session) }
    try await shadows.takeOverLetters(
      row, at: target, types: runner.definition.takes, archived: runner.definition.archived, session)
    // Any change of the tables was committed before these locks.
    switch choice.way {
    case .copy:
      try await shadows.lockForCopy(session)
      try await verify(row, .copy, session)
      try await shadows.copy(filter, session)
    case .swap:
      try await shadows.lockForSwap(session)
      try await verify(row, .swap, session)
      guard try await shadows.swap(patience: Self.readersPatience, session) else {
        throw Hindered(reason: "a reader holds the tables")
      }
    }
    try await shadows.conclude(row, choice, at: target, live: live, comparison: comparison, session)
    // Deferred triggers of the tables run at COMMIT.
    try await session.execute(SearchPath.set(SearchPath.text(session.operatorPath.schemas)))
    return target
  }

  /// Makes the live shard wait until the end of the transaction, and applies the remaining events.
  private func catchUp(
    _ row: RebuildTable.Row, _ session: isolated Session, _ replay: @escaping @Sendable (Int64) async throws -> Void
  ) async throws -> (target: Int64, live: Int64) {
    try await session.script(SessionBounds.unlimited(session, isLocal: true))
    let live = try await shadows.lockPosition(session)
    let target = row.request.upTo ?? live
    guard target <= live else {
      throw Problem(
        .rebuild(.nothingApplied), "\(runner.shard) was set back to \(live) during the rebuild",
        hint: "Run `tidemark rebuild` again.")
    }
    try await session.bearing { try await replay(target) }
    let positions = try await RebuildTable().workers(row.id, session)
    guard positions.allSatisfy({ $0 == target }), positions.count == row.request.workers else {
      throw Problem(
        .rebuild(.otherRequest), "\(runner.shard) was set back to \(live), behind its rebuild",
        hint: "Run `tidemark rebuild \(runner.definition.name) --restart`.")
    }
    try await shadows.boundLocks(session)
    return (target, live)
  }

  /// - Throws: ``Problem`` if the old tables have changed since the new ones were made after them.
  private func verify(_ row: RebuildTable.Row, _ way: ExchangeWay, _ session: isolated Session) async throws {
    let now = try await OriginalTables.read(runner.definition.tables, of: runner.definition.name, session)
    guard now.fit(shadows.originals.shape, for: way), now.oids == shadows.originals.oids else {
      throw Problem(
        .rebuild(.tablesChanged), "the tables of \(runner.definition.name) were changed during the rebuild",
        hint: "Run `tidemark rebuild \(runner.definition.name) --restart`.")
    }
    switch way {
    case .copy: _ = try ExchangeChoice.choose(.copy, isPartial: row.request.isPartial, now.obstacles)
    case .swap:
      if now.obstacles.contains(where: { !$0.found.isEmpty }) {
        throw Problem(
          .rebuild(.tablesChanged),
          "objects that a swap would drop were added to the tables after the rebuild began",
          hint: "Run `tidemark rebuild \(runner.definition.name)` again.")
      }
    }
  }

  /// Waits for transactions with a fixed snapshot from before the new tables were full, which would find them empty or half full after the
  /// swap; throws if they take too long, and the swap is tried later.
  private func outliveSnapshots(_ session: isolated Session) async throws {
    let deadline = ContinuousClock.now + Self.snapshotsPatience
    let early = Set(try await snapshots(session))
    var left = early
    while !left.isEmpty {
      guard ContinuousClock.now < deadline else {
        throw Hindered(
          reason: "\(counted(left.count, "transaction")) with a snapshot from before the new tables were full")
      }
      try await Task.sleep(for: .milliseconds(5))
      left = early.intersection(try await snapshots(session))
    }
  }

  private func snapshots(_ session: isolated Session) async throws -> [String] {
    try await session.prepared("SELECT s FROM unnest(tidemark_internal.snapshots()) AS s").rows.map {
      try $0.get(0, as: String.self)
    }
  }
}
