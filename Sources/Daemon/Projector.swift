import EventStore
package import Postgres
package import Projection

/// Applies one page of one projection: position and effect in one transaction, in two round trips.
///
/// The first moves the position by compare-and-swap and asks what is in the page; the second applies the effect and commits.
package struct Projector: Sendable {
  package let definition: ProjectionDefinition
  package let streamIDType: String
  private let shard: String
  private let rows: EventRows

  /// What became of a page. It may end lower than asked when its events were more than one page may carry.
  package struct Applied: Sendable {
    package var page: Page
    /// The events that were applied one by one; nil where the server did not say.
    package var events: Int?
  }

  package init(_ definition: ProjectionDefinition, streamIDType: String) {
    self.definition = definition
    self.streamIDType = streamIDType
    shard = "\(definition.shard)"
    rows =
      switch definition.effect {
      case .batch: EventRows(columns: [])
      case .perEvent(let statements): EventRows(columns: Set(statements.values.flatMap(\.columns)))
      }
  }

  /// - Throws: ``PageFailure``; the session is left outside of any transaction, or closed.
  package func apply(_ page: Page, on session: Session) async throws -> Applied {
    do {
      return try await attempt(page, on: session)
    } catch {
      if session.isOpen { try? await session.rollBackIfNeeded() }
      switch error {
      case let error as PageFailure: throw error
      case let error as PostgresError where error.isCancelled: throw CancellationError()
      case let error as PostgresError: throw PageFailure(error)
      default: throw error
      }
    }
  }

  private func attempt(_ page: Page, on session: Session) async throws -> Applied {
    let begin: [SQL] = [
      "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
      beginPage(shard, floor: page.floor, ceiling: page.ceiling, types: definition.takes, durable: false),
    ]
    switch definition.effect {
    case .batch(let statements):
      let begun = try await session.pipeline(begin + ["SELECT EXISTS (SELECT FROM tidemark.batch) AS any"])
      let isEmpty = !(try begun[2].rows[0].get("any", as: Bool.self))
      try await commit(isEmpty ? [] : statements.map { batchStatement($0, page) }, on: session)
      return Applied(page: page, events: isEmpty ? 0 : nil)

    case .perEvent(let statements):
      let begun = try await session.pipeline(begin + [rows.statement])
      return try await applyEvents(begun[2], statements, page, on: session)
    }
  }

  /// A prepared statement without parameters is planned once, so a plan for ten rows would be used for a hundred thousand. The decade of
  /// the width, as a comment at the end, makes them different statements.
  private func batchStatement(_ statement: Statement, _ page: Page) -> (SQL, SourceLocation) {
    let decade = String(page.width).utf8.count
    return (SQL(text: "\(statement.text)\n-- \(decade)"), statement.source)
  }

  private func applyEvents(
    _ events: ResultSet, _ statements: [String: BoundStatement], _ page: Page, on session: Session
  ) async throws -> Applied {
    var effects: [(SQL, SourceLocation)] = []
    var sequences: [Int64] = []
    var ceiling = page.ceiling
    for (index, row) in events.rows.enumerated() {
      let sequence = try row.get(0, as: Int64.self)
      if index == rows.rowLimit || row.text(2) == "t" {
        ceiling = (sequences.last ?? page.floor)
        break
      }
      sequences.append(sequence)
      guard let type = row.text(1), let statement = statements[type] else { continue }
      let binds = statement.columns.map { column in
        Bind(row.text(3 + rows.columns.firstIndex(of: column)!), type: column.typeOID(streamIDType: streamIDType))
      }
      effects.append((SQL(text: statement.text, binds: binds), statement.statement.source))
    }
    var last: [SQL] = []
    if ceiling < page.ceiling { last.append(cutPage(shard, ceiling: ceiling)) }
    try await commit(effects, last, sequences: sequences, on: session)
    return Applied(page: Page(floor: page.floor, ceiling: ceiling), events: sequences.count)
  }

  private func commit(
    _ effects: [(SQL, SourceLocation)], _ last: [SQL] = [], sequences: [Int64] = [], on session: Session
  ) async throws {
    do {
      _ = try await session.pipeline(effects.map(\.0) + last + ["COMMIT"])
    } catch {
      throw failure(error, effects, sequences)
    }
  }

  /// Names the statement and the event behind an error of the pipeline.
  private func failure(_ error: PostgresError, _ effects: [(SQL, SourceLocation)], _ sequences: [Int64]) -> any Error {
    if error.isCancelled { return CancellationError() }
    guard let index = error.statementIndex, index < effects.count else { return PageFailure(error) }
    let (sql, source) = effects[index]
    return PageFailure(
      error, source: source.offset(in: sql.text, by: error.statementPosition),
      sequence: index < sequences.count ? sequences[index] : nil)
  }
}
