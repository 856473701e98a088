package import Books
import EventStore
package import Postgres
package import Rules
import Telemetry

/// Applies one page of one projection: moves the position and applies the effect in one transaction, in two round trips.
///
/// The first moves the position by compare-and-swap and reads the events of the page; the second applies the effect and commits.
package struct Projector: Sendable {
  package let definition: ProjectionDefinition
  private let search: PoisonSearch
  private let streamIDType: String
  private let positions: Positions
  private let maySkip: Bool
  private let target: PageTarget
  private let takes: [String]?
  private let rows: EventRows
  /// The types of compacted rows that pages may pass.
  private let passable: [String]
  private let mayCompact: Bool

  /// An applied page. It ends below the requested ceiling if it had more events than one page may carry.
  package struct Applied: Sendable {
    package var page: Page
    /// The number of its events; nil if the server did not count them.
    package var events: Int? = nil
    /// The events that became dead letters, and the failing events that were ignored.
    package var letters: [DeadLetters.Letter] = []
    package var ignored: [Int64] = []
    /// Of an empty page: the number of the next event in the store, `Int64.max` if there is none.
    package var nextEvent: Int64?

    package var poison: Int { letters.count + ignored.count }
  }

  package init(
    _ context: ShardContext, policy: FailurePolicy, chains: Set<[FailureAction]> = [], target: PageTarget? = nil
  ) {
    definition = context.definition
    passable = context.definition.passableCompacted
    mayCompact = context.shape.mayCompact
    let target = target ?? .live(shard: "\(context.name)")
    search = PoisonSearch(context, policy: policy, chains: chains, shard: target.letters)
    streamIDType = context.shape.streamIDType
    positions = Positions(context.shape)
    maySkip = context.shape.maySkip(context.definition.archived)
    self.target = target
    if case .perEvent = definition.effect, !target.isLetter, policy.looksAtUnknownEvents(of: definition.name) {
      takes = nil
    } else {
      takes = definition.takes
    }
    rows =
      switch definition.effect {
      case .batch, .plugin: EventRows(columns: [])
      case .perEvent(let statements): EventRows(columns: Set(statements.values.flatMap(\.columns)))
      }
  }

  /// How to apply a page.
  package enum Mode: Sendable, Hashable {
    /// Apply the whole page or nothing.
    case whole
    /// Find the events that fail. Try `chunk` events together at first; 0 if the page is known to fail as a whole.
    case searchingPoison(chunk: Int)
  }

  /// - Throws: ``PageFailure``, or ``PageTarget/Refusal``; the session is then outside any transaction, or closed.
  package func apply(_ page: Page, _ mode: Mode = .whole, on session: Session) async throws -> Applied {
    do {
      do {
        return try await attempt(page, mode, on: session)
      } catch  where mayBeOfCompactedRow(error) {
        await session.rollBack()
        return try await attemptBeside(try await compactedRow(page, on: session), page, mode, on: session)
      }
    } catch {
      await session.rollBack()
      let failure = try PageFailure(of: error).underPage()
      if failure.exhaustsServer { await session.close() }
      throw failure
    }
  }

  // MARK: Compacted rows

  /// Whether a row that stands for compacted events is in the page, or may be behind a failure: a projection that takes every type is
  /// shown the row too, and does not know it.
  private func mayBeOfCompactedRow(_ error: any Error) -> Bool {
    guard let failure = try? PageFailure(of: error) else { return false }
    if failure.failure.code == .raised(.compacted) { return failure.failure.sequence == nil }
    return mayCompact && takes == nil && [.event, .unknownEvent].contains(failure.failureClass)
  }

  /// The first row in the page that stands for compacted events.
  private func compactedRow(_ page: Page, on session: Session) async throws -> CompactedRow? {
    let found = try await session.pipeline(
      ["BEGIN ISOLATION LEVEL READ COMMITTED"]
        + target.begin(floor: page.floor, ceiling: page.ceiling, types: takes, archived: definition.archived)
        + [CompactedRows.look(page, passable: passable)])
    await session.rollBack()
    return try CompactedRows.rows(found.last!).first
  }

  /// Applies the events before the row. If there are none, the failure policy decides about it.
  private func attemptBeside(
    _ row: CompactedRow?, _ page: Page, _ mode: Mode, on session: Session
  ) async throws -> Applied {
    do {
      guard let row else { return try await attempt(page, mode, on: session) }
      guard row.sequence == page.floor + 1 else {
        return try await attempt(Page(floor: page.floor, ceiling: row.sequence - 1), mode, on: session)
      }
      let passed = Page(floor: page.floor, ceiling: row.sequence)
      let failure = PageFailure(row.problem(for: definition))
      let (letters, ignored) = try search.decide([PoisonSearch.Finding(sequence: row.sequence, failure: failure)])
      _ = try await session.pipeline(
        ["BEGIN ISOLATION LEVEL READ COMMITTED"]
          + target.begin(floor: passed.floor, ceiling: passed.ceiling, types: takes, archived: definition.archived)
          + search.keep(letters)
          + target.end(after: passed.floor, maySkip: maySkip, ignored: ignored) + ["COMMIT"])
      return Applied(page: passed, events: 1, letters: letters, ignored: ignored)
    } catch {
      var failure = try PageFailure(of: error)
      // The store has compacted another stream meanwhile: look again.
      if failure.failure.code == .raised(.compacted), failure.failure.sequence == nil {
        failure.failureClass = .transient
      }
      throw failure
    }
  }

  // MARK: A page

  private func attempt(_ page: Page, _ mode: Mode, on session: Session) async throws -> Applied {
    var begin: [SQL] =
      ["BEGIN ISOLATION LEVEL READ COMMITTED"]
      + target.begin(floor: page.floor, ceiling: page.ceiling, types: takes, archived: definition.archived)
    if definition.onPoison == .parkStream, !target.isLetter { begin.append(search.park) }
    let path = PagePath(session.operatorPath, target)
    switch (definition.effect, mode) {
    case (.batch(let statements), .whole):
      let begun = try await session.pipeline(begin + [path.look])
      let isEmpty = !(try PagePath.hasEvents(begun.last!.rows[0]))
      try check(begun, isEmpty: isEmpty)
      if isEmpty { return try await commitEmpty(page, on: session) }
      try await commit(statements.map { batchStatement($0, page) }, path, end(page), on: session)
      return Applied(page: page)

    case (.batch(let statements), .searchingPoison(let chunk)):
      var prepared: [(String, SourceLocation)] = []
      let begun = try await session.pipeline(begin + [path.look])
      guard try PagePath.hasEvents(begun.last!.rows[0]) else { return try await commitEmpty(page, on: session) }
      for (sql, source) in statements.map({ batchStatement($0, page) }) {
        prepared.append((try await session.preparedName(for: sql), source))
      }
      let (findings, events) = try await find(prepared, path, chunk, page, after: begin, on: session)
      let (letters, ignored) = try search.decide(findings)
      _ = try await session.pipeline(search.keep(letters) + end(page, ignored) + [path.enter, "COMMIT"])
      return Applied(page: page, events: events, letters: letters, ignored: ignored)

    case (.perEvent(let statements), _):
      let begun = try await session.pipeline(begin + [rows.statement])
      let isEmpty = begun.last!.rows.isEmpty
      try check(begun, isEmpty: isEmpty)
      if isEmpty { return try await commitEmpty(page, on: session) }
      return try await applyEvents(begun.last!, statements, page, mode, path, on: session)

    case (.plugin, _): preconditionFailure("pages of a plugin are applied by PluginProjector")
    }
  }

  /// Has the server search the page. No function can catch a cancelled statement, so a page of one number stands for its event.
  private func find(
    _ statements: [(String, SourceLocation)], _ path: PagePath, _ chunk: Int, _ page: Page, after begin: [SQL],
    on session: Session
  ) async throws -> (findings: [PoisonSearch.Finding], events: Int) {
    do {
      return try await search.find(statements, path, chunk: chunk, isAlone: page.width == 1, on: session)
    } catch let error as PostgresError where error.sqlState == .queryCanceled && page.width == 1 {
      await session.rollBack()
      let failure = PageFailure(error, source: statements.first?.1, sequence: page.ceiling)
      guard search.mayPass(failure) else { throw failure }
      _ = try await session.pipeline(begin)
      return ([PoisonSearch.Finding(sequence: page.ceiling, failure: failure)], 1)
    }
  }

  private func end(_ page: Page, _ ignored: [Int64] = []) -> [SQL] {
    let end = target.end(after: page.floor, maySkip: maySkip, ignored: ignored)
    return target.isLetter || !mayCompact ? end : end + [CompactedRows.refuse(after: page.floor, passable: passable)]
  }

  /// Throws if a page that has begun cannot continue: its letter cannot be taken, or has no event to apply.
  private func check(_ begun: [ResultSet], isEmpty: Bool) throws(PageTarget.Refusal) {
    try target.check(begun.dropFirst())
    if isEmpty, target.isLetter { throw .nothingToApply }
  }

  /// The server plans a prepared statement without parameters once, so it would use a plan for ten rows for a hundred thousand. A comment
  /// with the number of digits of the width makes these different statements.
  private func batchStatement(_ statement: Statement, _ page: Page) -> (SQL, SourceLocation) {
    let decade = String(page.width).utf8.count
    return (SQL(text: "\(statement.text)\n-- \(decade)"), statement.source)
  }

  /// An event of the event form with its bound statement.
  private struct Step {
    var sequence: Int64
    var sql: SQL
    var source: SourceLocation
  }

  private func applyEvents(
    _ events: ResultSet, _ statements: [String: BoundStatement], _ page: Page, _ mode: Mode, _ path: PagePath,
    on session: Session
  ) async throws -> Applied {
    var steps: [Step] = []
    var unknown: [PoisonSearch.Finding] = []
    var last = page.floor
    var count = 0
    var ceiling = page.ceiling
    for (index, row) in events.rows.enumerated() {
      let sequence = try row.get(0, as: Int64.self)
      if index == rows.rowLimit || row.text(2) == "t" {
        ceiling = last
        break
      }
      last = sequence
      count += 1
      guard let type = row.text(1), let statement = statements[type] else {
        unknown.append(
          PoisonSearch.Finding(
            sequence: sequence,
            failure: PageFailure(
              .unknownEvent,
              Problem(
                "there is no statement for events of type \(row.text(1) ?? "NULL")", source: definition.source,
                sequence: sequence))))
        continue
      }
      steps.append(
        Step(
          sequence: sequence, sql: rows.bound(statement, to: row, streamIDType: streamIDType),
          source: statement.statement.source))
    }
    let cut = ceiling < page.ceiling ? [target.cut(ceiling: ceiling)] : []
    // Events without a statement need no search.
    var letters = try search.decide(unknown).letters
    let applied = Page(floor: page.floor, ceiling: ceiling)
    guard case .searchingPoison = mode else {
      try await commit(
        steps.map { ($0.sql, $0.source) }, path, entering: true,
        cut + search.keep(letters) + end(page),
        sequences: steps.map(\.sequence), on: session)
      return Applied(page: applied, events: count, letters: letters)
    }
    try await session.prepared(path.enter)
    let found = try search.decide(try await applyOneByOne(steps, path, on: session))
    letters = (letters + found.letters).sorted { $0.sequence < $1.sequence }
    _ = try await session.pipeline(path.outside(cut + search.keep(letters) + end(page, found.ignored)) + ["COMMIT"])
    return Applied(page: applied, events: count, letters: letters, ignored: found.ignored)
  }

  /// The number of events between two savepoints: if one fails, those before it in its group are applied again.
  private static let group = 64

  /// Applies events in order, group by group. The statement that fails shows which event fails, and the group is applied again without it.
  private func applyOneByOne(
    _ steps: [Step], _ path: PagePath, on session: Session
  ) async throws -> [PoisonSearch.Finding] {
    var findings: [PoisonSearch.Finding] = []
    var parked: Set<String> = []
    var remaining = steps[...]
    while !remaining.isEmpty {
      var group = Array(remaining.prefix(Self.group))
      remaining = remaining.dropFirst(group.count)
      while !group.isEmpty {
        if !parked.isEmpty {
          let streams = try await streams(of: group.map(\.sequence), path, on: session)
          group.removeAll { step in streams[step.sequence].map(parked.contains) ?? false }
          if group.isEmpty { break }
        }
        do {
          // Deferrable constraints are checked at the end of the group, where the event can still be found.
          _ = try await session.pipeline(
            ["SAVEPOINT one", "SET CONSTRAINTS ALL DEFERRED"] + group.map(\.sql)
              + ["SET CONSTRAINTS ALL IMMEDIATE", "RELEASE SAVEPOINT one"])
          break
        } catch {
          guard let index = error.statementIndex, (2...group.count + 2).contains(index), !error.isConnectionLoss else {
            throw PageFailure(error)
          }
          if index == group.count + 2, group.count > 1 {
            // A constraint failed at the end of the group: try the first half, then the rest.
            try await session.script("ROLLBACK TO SAVEPOINT one")
            remaining = (group.suffix(group.count - group.count / 2) + remaining)[...]
            group = Array(group.prefix(group.count / 2))
            continue
          }
          let step = group.remove(at: min(index - 2, group.count - 1))
          let failure = PageFailure(
            error, source: step.source.offset(in: step.sql.text, by: error.statementPosition), sequence: step.sequence)
          try await session.script("ROLLBACK TO SAVEPOINT one")
          // Decide at once, so that a definition that cannot work is not tried on every event.
          _ = try search.decide([PoisonSearch.Finding(sequence: step.sequence, failure: failure)])
          findings.append(PoisonSearch.Finding(sequence: step.sequence, failure: failure))
          if definition.onPoison == .parkStream {
            parked.formUnion(try await streams(of: [step.sequence], path, on: session).values)
          }
        }
      }
    }
    return findings
  }

  private func streams(
    of sequences: [Int64], _ path: PagePath, on session: Session
  ) async throws -> [Int64: String] {
    let rows = try await session.pipeline(
      path.outside([
        "SELECT seq_id, stream_id::text AS stream FROM tidemark.batch WHERE seq_id = ANY (\(sequences)::bigint[])"
      ]))[1].rows
    return try rows.reduce(into: [:]) {
      $0[try $1.get("seq_id", as: Int64.self)] = try $1.get("stream", as: String?.self)
    }
  }

  /// Commits a page without events, and looks up where the next one is: the numbers up to there may be many.
  private func commitEmpty(_ page: Page, on session: Session) async throws -> Applied {
    let ended = try await session.pipeline([positions.nextEvent(after: page.ceiling)] + end(page) + ["COMMIT"])
    return Applied(page: page, events: 0, nextEvent: try ended[0].rows[0].get(0, as: Int64.self))
  }

  private func commit(
    _ effects: [(SQL, SourceLocation)], _ path: PagePath, entering: Bool = false, _ last: [SQL],
    sequences: [Int64] = [], on session: Session
  ) async throws {
    let enter = entering ? [path.enter] : []
    do {
      _ = try await session.pipeline(enter + effects.map(\.0) + path.outside(last) + ["COMMIT"])
    } catch {
      throw failure(error, effects, sequences, after: enter.count)
    }
  }

  /// Names the statement and the event behind an error of the pipeline.
  private func failure(
    _ error: PostgresError, _ effects: [(SQL, SourceLocation)], _ sequences: [Int64], after first: Int
  ) -> any Error {
    if error.isCancelled { return CancellationError() }
    guard let index = error.statementIndex.map({ $0 - first }), effects.indices.contains(index) else {
      return PageFailure(error)
    }
    let (sql, source) = effects[index]
    return PageFailure(
      error, source: source.offset(in: sql.text, by: error.statementPosition),
      sequence: index < sequences.count ? sequences[index] : nil)
  }
}
