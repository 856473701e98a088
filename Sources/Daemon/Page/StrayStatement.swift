import Books
import Postgres
import Rules
import Telemetry

/// Tells, of a statement that failed in a rebuild, whether it failed past the new tables.
///
/// A page that was applied shows by its locks where it went; one that failed has none any more. Where it went to the old tables, their rows
/// are what it failed at: a duplicate key, say, tells nothing of the event then, which must not become a dead letter for it.
struct StrayStatement: Sendable {
  let target: PageTarget
  /// What comes before the statements in the page's transaction.
  let begin: [SQL]
  let effects: [SQL]

  /// - Parameter error: of one of the effects; its transaction is over.
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

  /// The statement again, without running it: planning takes the locks.
  private func planned(_ index: Int, _ session: Session) async throws -> PageFailure? {
    let failed = effects[index]
    guard SQLText.isPlanned(failed.text) else { return nil }
    let plan = SQL(text: "EXPLAIN " + failed.text, binds: failed.binds)
    do throws(PostgresError) {
      _ = try await session.pipeline(begin + effects.prefix(index) + [plan] + target.end + ["ROLLBACK"])
      return nil
    } catch {
      if error.isCancelled || error.isConnectionLoss { throw error }
      await session.rollBack()
      return error.sqlState?.code == RaisedCode.strayStatement.rawValue ? PageFailure(error) : nil
    }
  }
}
