import Books
import Postgres
import Rules
import Telemetry

/// Finds out whether a statement that failed in a rebuild used the old tables.
///
/// The locks of an applied page show which tables it used; a failed page has no locks left. If it used the old tables, it may have failed
/// because of their rows: a duplicate key there, for example, says nothing about the event, which must not become a dead letter.
struct StrayStatement: Sendable {
  let target: PageTarget
  /// The statements before `effects` in the page's transaction.
  let begin: [SQL]
  let effects: [SQL]

  /// - Parameter error: the error of one of the effects; its transaction has ended.
  func failure(behind error: PostgresError, _ session: Session) async throws -> PageFailure? {
    guard case .rebuild(_, _, _, let schema, let originals) = target, !originals.isEmpty,
      let index = error.statementIndex,
      effects.indices.contains(index - begin.count), PageFailure(error).failureClass == .event
    else { return nil }
    if let table = error.table, table.schema != schema, !table.schema.hasPrefix("pg_temp_") {
      return PageFailure(
        .definition,
        Problem(
          .raised(.strayStatement),
          "a statement, or a function or trigger it calls, writes \(table.schema).\(table.name), which a rebuild must leave alone",
          hint: strayHint))
    }
    return try await planned(index - begin.count, session)
  }

  /// Plans the statement again, without running it: planning takes the locks.
  private func planned(_ index: Int, _ session: Session) async throws -> PageFailure? {
    let failed = effects[index]
    guard SQLText.isPlanned(failed.text) else { return nil }
    let plan = SQL(text: "EXPLAIN " + failed.text, binds: failed.binds)
    do throws(PostgresError) {
      let work = begin + effects.prefix(index) + [plan, PagePath.leave]
      _ = try await session.pipeline(work + target.end(after: 0, maySkip: false) + ["ROLLBACK"])
      return nil
    } catch {
      if error.isCancelled || error.isConnectionLoss { throw error }
      await session.rollBack()
      return error.sqlState?.code == RaisedCode.strayStatement.rawValue ? PageFailure(error) : nil
    }
  }
}
