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

  /// The GRANT that the look for statements which a rebuild cannot redirect needs; nil if the role has it. The daemon needs it for nothing else.
  package func grantForLook(_ session: Session) async throws -> String? {
    try await session.execute(
      """
      SELECT format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database()::text, current_user::text) AS statement
       WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
      """
    ).rows.first?.get("statement", as: String.self)
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
    let findings = try await rolledBack(session) { try await inTransaction(projection, session) }
    var problems: [Problem] = []
    for finding in findings {
      var problem = finding.problem
      // On its own, since the locks of one transaction do not tell which statement took them.
      if let denied = finding.denied {
        let path = PagePath(session.operatorPath, .live(shard: "\(projection.shard)"))
        let grants = try await rolledBack(session) { try await MissingGrants(denied, problem).look(path, session) }
        if !grants.isEmpty { problem.hint = "As the owner run: \(grants.map { "\($0);" }.joined(separator: " "))" }
      }
      problems.append(problem)
    }
    return problems
  }

  /// A finding about a statement, and the statement where the role lacks a privilege for it.
  private struct Finding {
    var problem: Problem
    var denied: SQL?
  }

  private func rolledBack<T>(_ session: Session, _ body: () async throws -> T) async throws -> T {
    try await session.script("BEGIN")
    do {
      let result = try await body()
      try await session.script("ROLLBACK")
      return result
    } catch {
      await session.rollBack()
      throw error
    }
  }

  private func inTransaction(_ projection: ProjectionDefinition, _ session: Session) async throws -> [Finding] {
    var findings: [Finding] = []
    var isMade = true
    do {
      for table in projection.tables {
        isMade = try await DeclaredTable(table, of: projection.name).find(session) != nil && isMade
      }
    } catch var problem as Problem {
      problem.source = projection.source
      return [Finding(problem: problem)]
    }
    if !isMade, let setup = projection.setup {
      do {
        try await session.script("SAVEPOINT one")
        try await session.execute(SearchPath.set(SearchPath.text(session.operatorPath.homes)))
        try await session.script(setup.text)
        try await session.execute(SearchPath.set(SearchPath.ours))
      } catch {
        var problem = try finding(error, projection, setup)
        if problem.code == .sqlState(SQLState.insufficientPrivilege.code) {
          problem.hint = "Run `tidemark init` as a role that may make the tables, such as the owner of the database."
        }
        findings.append(Finding(problem: problem))
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
        findings.append(Finding(problem: problem))
      }
    }
    return try await findings + looks(projection, session)
  }

  /// The daemon looks at declared tables itself, and what a plugin does with its own is not known here.
  private func looks(_ projection: ProjectionDefinition, _ session: Session) async throws -> [Finding] {
    let writes = projection.plugin?.effects == .database
    var findings: [Finding] = []
    for table in projection.tables {
      let table = DeclaredTable(table, of: projection.name)
      guard let grant = try await MissingGrants.onDeclared(table, writes: writes, session) else { continue }
      findings.append(
        Finding(
          problem: Problem(
            .sqlState(SQLState.insufficientPrivilege.code),
            "the daemon's role may not \(writes ? "read and write" : "read") the declared table \(table.name)",
            hint: "As the owner run: \(grant);", source: projection.source, key: projection.settingsKey)))
    }
    return findings
  }

  /// Parses the statement, then plans it with EXPLAIN EXECUTE, with nulls as arguments.
  private func plan(
    _ sql: SQL, parameters: Int, _ projection: ProjectionDefinition, _ statement: Statement, _ session: Session
  ) async throws -> Finding? {
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
      let isDenied = [.insufficientPrivilege, .undefinedTable].contains((error as? PostgresError)?.sqlState)
      return Finding(problem: found, denied: isDenied ? sql : nil)
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
