import PluginHost
import Daemon
package import EventStore
import Plugins
package import Postgres
package import Rules

/// Has PostgreSQL check every statement of a projection, without changing anything.
///
/// The server parses and plans each statement in a transaction that is rolled back; planning finds a column that does not exist, a missing
/// privilege, or an ON CONFLICT without its unique index. If a table is missing and the projection has `setup`, that runs first, in the
/// same transaction.
package struct DefinitionCheck: Sendable {
  package let shape: StoreShape

  package init(shape: StoreShape) { self.shape = shape }

  package func findings(_ projections: [ProjectionDefinition], _ session: Session) async throws -> [Problem] {
    try await ShardSessions.prepare(session)
    var findings = try await checkBatchIsOurs(projections, session)
    for projection in projections { findings += try await check(projection, session) }
    return findings
  }

  private func checkBatchIsOurs(_ projections: [ProjectionDefinition], _ session: Session) async throws
    -> [Problem]
  {
    let hidden = try await session.execute(
      """
      SELECT n.nspname::text AS schema FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
       WHERE c.oid = to_regclass('batch') AND n.nspname <> 'tidemark'
      """
    ).rows.first?.get("schema", as: String.self)
    guard let hidden else { return [] }
    return projections.filter { if case .batch = $0.effect { true } else { false } }.map {
      Problem(
        "\"batch\" names your own relation in schema \(hidden), not the view of the page's events",
        hint: "Write tidemark.batch in the statement, or rename \(hidden).batch.", source: $0.source,
        key: $0.settingsKey)
    }
  }

  private func check(_ projection: ProjectionDefinition, _ session: Session) async throws -> [Problem] {
    try await session.script("BEGIN")
    do {
      let findings = try await inTransaction(projection, session)
      try await session.script("ROLLBACK")
      return findings
    } catch {
      await session.rollBack()
      throw error
    }
  }

  private func inTransaction(_ projection: ProjectionDefinition, _ session: Session) async throws -> [Problem] {
    var findings: [Problem] = []
    var isMade = true
    for table in projection.tables {
      let isThere = try await session.execute("SELECT to_regclass(\(table)) IS NOT NULL AS here").rows[0]
      isMade = try isThere.get("here", as: Bool.self) && isMade
    }
    if !isMade, let setup = projection.setup {
      do {
        try await session.script("SAVEPOINT one")
        try await session.script(setup.text)
      } catch {
        findings.append(try finding(error, projection, setup))
        try await session.script("ROLLBACK TO SAVEPOINT one")
        return findings
      }
    }
    switch projection.effect {
    case .batch(let statements):
      for statement in statements {
        let sql = SQL(text: statement.text)
        if let found = try await plan(sql, parameters: 0, projection, statement, session) { findings.append(found) }
      }
    case .perEvent(let statements):
      for (_, bound) in statements.sorted(by: { $0.key < $1.key }) {
        let binds = bound.columns.map { Bind(nil, type: $0.typeOID(streamIDType: shape.streamIDType)) }
        let sql = SQL(text: bound.text, binds: binds)
        if let found = try await plan(sql, parameters: binds.count, projection, bound.statement, session) {
          findings.append(found)
        }
      }
    case .plugin(let plugin):
      if var problem = plugin.problemHere {
        problem.source = projection.source
        problem.key = projection.settingsKey
        findings.append(problem)
      }
    }
    return findings
  }

  /// Parses the statement, then plans it with EXPLAIN EXECUTE, with nulls as arguments.
  private func plan(
    _ sql: SQL, parameters: Int, _ projection: ProjectionDefinition, _ statement: Statement, _ session: Session
  ) async throws -> Problem? {
    try await session.script("SAVEPOINT one")
    do {
      try await session.prepare(sql, name: "checked")
      let nulls = Array(repeating: "NULL", count: parameters).joined(separator: ", ")
      if SQLText.isPlanned(statement.text) {
        try await session.script("EXPLAIN EXECUTE checked\(parameters > 0 ? "(\(nulls))" : "")")
      }
      try await session.script("DEALLOCATE checked")
      try await session.script("RELEASE SAVEPOINT one")
      return nil
    } catch {
      let found = try finding(error, projection, statement)
      try await session.script("ROLLBACK TO SAVEPOINT one")
      try await session.script("DEALLOCATE ALL")
      return found
    }
  }

  /// The server's error about the statement; rethrows a failure of the connection.
  private func finding(_ error: any Error, _ projection: ProjectionDefinition, _ statement: Statement) throws
    -> Problem
  {
    guard let error = error as? PostgresError, let state = error.sqlState, !error.isConnectionLoss else { throw error }
    var hint = error.hint
    if state == .undefinedTable, projection.setup != nil || !projection.tables.isEmpty {
      hint = hint ?? "Create the table, or declare `setup` and run `tidemark init`."
    }
    return Problem(
      .sqlState(state.code), error.message, hint: hint,
      source: statement.source.offset(in: statement.text, by: error.statementPosition), key: projection.settingsKey)
  }
}
