import Books
import ReadModels
import Postgres
import Rules
import Telemetry

/// The end of a rebuild: the live shard waits, the last events are applied, and the new tables take the old ones' place, in one transaction.
///
/// The transaction first locks the row of the live position, which every page of the live shard moves first; so from there on no event is
/// applied to the old tables, and none is lost or applied twice. The rebuild ends at exactly that position, which stays what it is.
struct RebuildClosing: Sendable {
  let runner: RebuildRunner
  let shadows: ShadowTables
  let filter: RowFilter

  enum Outcome: Sendable {
    case ended
    /// What differs, as JSON, and at which position.
    case compared(String, at: Int64)
    /// Rolled back for the moment: who or what was in the way.
    case hindered(String)
    /// Rolled back: a page failed that will be tried again.
    case faltered(Problem)
  }

  /// Longest that readers wait behind a swap that waits for a reader itself.
  static let readersPatience = Duration.milliseconds(40)
  /// Longest to wait, with the live shard standing still, for snapshots from before the new tables were full.
  static let snapshotsPatience = Duration.seconds(1)

  private struct Hindered: Error { var reason: String }

  func run(
    _ row: RebuildTable.Row, _ choice: ExchangeChoice, comparison: String?, _ session: Session,
    replay: @escaping @Sendable (Int64) async throws -> Void
  ) async throws -> Outcome {
    // What a plugin has in hand, or remembers, is of the old tables: it ends before they do, and another one begins with the new.
    let holds = row.request.upTo != nil || runner.definition.plugin != nil
    return try await outcome {
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

  /// What differs just now. The live shard waits until a snapshot has both old and new tables at one position, and goes on while they are
  /// read, however long that takes.
  func compare(
    _ row: RebuildTable.Row, _ session: Session, replay: @escaping @Sendable (Int64) async throws -> Void
  ) async throws -> Outcome {
    try await outcome {
      try await Session.connect(runner.options, threadName: "rebuild").closing { looker in
        try await ShardSessions.prepare(looker, workMemory: runner.workMemory)
        let position = try await session.transaction { session in
          let position = try await catchUp(row, session, replay).target
          try await verify(row, .copy, session)
          try await looker.script(
            """
            BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0;
            SET LOCAL idle_in_transaction_session_timeout = '60s'; SELECT pg_current_snapshot()
            """)
          return position
        }
        let comparison = try await shadows.compare(filter, looker)
        try await looker.script("COMMIT")
        return .compared(comparison, at: position)
      }
    }
  }

  private func outcome(_ body: () async throws -> Outcome) async throws -> Outcome {
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
        throw Problem(
          .rebuild(.collision), "a new row has the key of an old one that stays: \(error.message)",
          hint: [error.detail, "Nothing was changed. Rebuild all rows, or let the events say the key."].compactMap(
            \.self
          ).joined(
            separator: " "))
      default: throw error
      }
    }
  }

  private func close(
    _ row: RebuildTable.Row, _ choice: ExchangeChoice, _ comparison: String?, _ session: isolated Session,
    _ replay: @Sendable (Int64) async throws -> Void
  ) async throws -> Int64 {
    let (target, live) = try await catchUp(row, session, replay)
    try await verify(row, choice.way, session)
    if choice.way == .swap { try await outliveSnapshots(session) }
    try await shadows.takeOverLetters(row, at: target, types: runner.definition.takes, session)
    // Whoever has changed the tables since has done so before these locks.
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
    return target
  }

  /// Lets the live shard wait, to the end of the transaction, and applies the rest.
  private func catchUp(
    _ row: RebuildTable.Row, _ session: isolated Session, _ replay: @Sendable (Int64) async throws -> Void
  ) async throws -> (target: Int64, live: Int64) {
    try await session.script("SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL statement_timeout = 0")
    let live = try await shadows.lockPosition(session)
    let target = row.request.upTo ?? live
    guard target <= live else {
      throw Problem(
        .rebuild(.nothingApplied), "\(runner.shard) was set back to \(live) meanwhile",
        hint: "Say `tidemark rebuild` again.")
    }
    try await replay(target)
    let positions = try await RebuildTable().workers(row.id, session)
    guard positions.allSatisfy({ $0 == target }), positions.count == row.request.workers else {
      throw Problem(
        .rebuild(.otherRequest), "\(runner.shard) was set back behind its rebuild, to \(live)",
        hint: "Say `tidemark rebuild \(runner.definition.name) --restart`.")
    }
    try await shadows.boundLocks(session)
    return (target, live)
  }

  /// - Throws: ``Problem`` where the old tables are not those any more that the new ones were made after.
  private func verify(_ row: RebuildTable.Row, _ way: ExchangeWay, _ session: isolated Session) async throws {
    let now = try await OriginalTables.read(runner.definition.tables, of: runner.definition.name, session)
    guard now.fit(shadows.originals.shape, for: way), now.oids == shadows.originals.oids else {
      throw Problem(
        .rebuild(.tablesChanged), "the tables of \(runner.definition.name) were changed during the rebuild",
        hint: "Say `tidemark rebuild \(runner.definition.name) --restart`.")
    }
    switch way {
    case .copy: _ = try ExchangeChoice.choose(.copy, isPartial: row.request.isPartial, now.obstacles)
    case .swap:
      if now.obstacles.contains(where: { !$0.found.isEmpty }) {
        throw Problem(
          .rebuild(.tablesChanged), "since the rebuild began, something was hung on the tables that a swap would lose",
          hint: "Say `tidemark rebuild \(runner.definition.name)` again.")
      }
    }
  }

  /// A transaction with a fixed snapshot from before the new tables were full would find them empty, or half full, once they are
  /// swapped in. So the swap waits for it, or is put off.
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
