import Books
import PluginHost
import ReadModels
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
    var findings: [Problem] = []
    for projection in projections { findings += try await check(projection, session) }
    return findings
  }

  /// A relation of the operator's with the name `batch`, which statements find only with its schema.
  package func warnings(_ projections: [ProjectionDefinition], _ session: Session) async throws -> [String] {
    guard projections.contains(where: { $0.plugin == nil }),
      let other = try await DeclaredTable("batch", of: "").find(session)
    else { return [] }
    let name = DeclaredTable.written(other.parts)
    return [
      "in `sql`, batch means the events of the page, and not your own \(name)\n    hint: Write \(name) in the statements that mean it."
    ]
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
    do {
      for table in projection.tables {
        isMade = try await DeclaredTable(table, of: projection.name).find(session) != nil && isMade
      }
    } catch var problem as Problem {
      problem.source = projection.source
      return [problem]
    }
    if !isMade, let setup = projection.setup {
      do {
        try await session.script("SAVEPOINT one")
        try await session.execute(SearchPath.set(SearchPath.text(session.operatorPath.homes)))
        try await session.script(setup.text)
        try await session.execute(SearchPath.set(SearchPath.ours))
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
      try await session.execute(PagePath(session.operatorPath, .live(shard: "\(projection.shard)")).enter)
      try await session.prepare(sql, name: "checked")
      let nulls = Array(repeating: "NULL", count: parameters).joined(separator: ", ")
      if SQLText.isPlanned(statement.text) {
        try await session.script("EXPLAIN EXECUTE checked\(parameters > 0 ? "(\(nulls))" : "")")
      }
      try await session.script("DEALLOCATE checked")
      try await session.execute(SearchPath.set(SearchPath.ours))
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
      let capitals = projection.tables.filter { $0.contains { $0.isUppercase } && !$0.contains("\"") }
      hint =
        hint
        ?? (capitals.first.map { "In SQL a name with capitals needs quotes: \(SQL.quoted($0))." }
          ?? "Create the table, or declare `setup` and run `tidemark init`.")
    }
    return Problem(
      .sqlState(state.code), projection.concealment.concealing(error.message), hint: hint,
      source: statement.source.offset(in: statement.text, by: error.statementPosition), key: projection.settingsKey)
  }
}
