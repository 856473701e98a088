import EventStore
import Postgres
import Projection
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
    /// Rolled back for the moment: who or what was in the way.
    case hindered(String)
    /// Rolled back: a page failed that will be tried again.
    case faltered(Failure)
  }

  /// Longest that readers wait behind a swap that waits for a reader itself.
  static let readersPatience = Duration.milliseconds(40)
  /// Longest to wait, with the live shard standing still, for snapshots from before the new tables were full.
  static let snapshotsPatience = Duration.seconds(1)

  private struct Hindered: Error { var reason: String }

  func run(
    _ row: RebuildTable.Row, _ choice: ExchangeChoice, _ session: Session,
    replay: @escaping @Sendable (Int64) async throws -> Void
  ) async throws -> Outcome {
    // What a plugin has in hand, or remembers, is of the old tables: it ends before they do, and another one begins with the new.
    let holds = row.request.exchanges && (row.request.upTo != nil || runner.definition.plugin != nil)
    do {
      let began = ContinuousClock.now
      let exchange = {
        try await session.transaction { session in try await close(row, choice, session, replay) }
      }
      let position = holds ? try await runner.holding(exchange) : try await exchange()
      let took = ContinuousClock.now - began
      runner.observer.observe(
        row.request.exchanges
          ? .rebuildExchanged(
            runner.definition.shard, position: position, way: choice.way.rawValue, reason: choice.reason, took: took)
          : .rebuildCompared(runner.definition.shard, position: position))
      return .ended
    } catch {
      if let hindered = error as? Hindered { return .hindered(hindered.reason) }
      if let faltered = error as? RebuildWorker.Faltered { return .faltered(faltered.failure) }
      if let error = error as? PostgresError, [.lockNotAvailable, .deadlockDetected].contains(error.sqlState) {
        return .hindered(error.message)
      }
      throw error
    }
  }

  private func close(
    _ row: RebuildTable.Row, _ choice: ExchangeChoice, _ session: isolated Session,
    _ replay: @Sendable (Int64) async throws -> Void
  ) async throws -> Int64 {
    try await session.script("SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL statement_timeout = 0")
    let live = try await shadows.lockPosition(session)
    let target = row.request.upTo ?? live
    guard target <= live else {
      throw RebuildProblem(
        .nothingApplied, "\(runner.shard) was set back to \(live) meanwhile", hint: "Say `tidemark rebuild` again.")
    }
    try await replay(target)
    let positions = try await RebuildTable().workers(row.id, session)
    guard positions.allSatisfy({ $0 == target }), positions.count == row.request.workers else {
      throw RebuildProblem(
        .otherRequest, "\(runner.shard) was set back behind its rebuild, to \(live)",
        hint: "Say `tidemark rebuild \(runner.definition.name) --restart`.")
    }
    let now = try await OriginalTables.read(runner.definition.tables, of: runner.definition.name, session)
    guard now.shape == shadows.originals.shape, now.oids == shadows.originals.oids else {
      throw RebuildProblem(
        .tablesChanged, "the tables of \(runner.definition.name) were changed during the rebuild",
        hint: "Say `tidemark rebuild \(runner.definition.name) --restart`.")
    }
    let comparison = row.request.compares ? try await shadows.compare(filter, session) : nil
    guard row.request.exchanges else {
      try await RebuildTable().compared(row.id, position: target, comparison: comparison, session)
      return target
    }
    switch choice.way {
    case .copy: try await shadows.copy(filter, session)
    case .swap:
      if now.obstacles.contains(where: { !$0.found.isEmpty }) {
        throw RebuildProblem(
          .tablesChanged, "since the rebuild began, something was hung on the tables that a swap would lose",
          hint: "Say `tidemark rebuild \(runner.definition.name)` again.")
      }
      try await outliveSnapshots(session)
      guard try await shadows.swap(patience: Self.readersPatience, session) else {
        throw Hindered(reason: "a reader holds the tables")
      }
    }
    try await shadows.conclude(
      row, choice, at: target, live: live, types: runner.definition.takes, comparison: comparison, session)
    return target
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
    try await session.prepared("SELECT s FROM unnest(tidemark.snapshots()) AS s").rows.map {
      try $0.get(0, as: String.self)
    }
  }
}
