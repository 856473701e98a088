import Books
import ReadModels
package import EventStore
package import Postgres
package import Rules

/// Finds statements that the search path cannot redirect: those that name a table with its schema, or call a function that does, or write a
/// table that the projection does not declare.
///
/// It puts temporary copies of the declared tables first on the search path, and plans each statement. A rebuild would hit every other table
/// that the planner locks for writing, and every declared table that it locks for reading. Planning runs no functions, so the check reads
/// their text; a page of a real rebuild checks its locks again before it commits.
package struct RedirectionCheck: Sendable {
  package let shape: StoreShape

  package init(shape: StoreShape) { self.shape = shape }

  /// Runs the body on a session of its own: its temporary tables end with it. A table that another session has locked for long is named by
  /// the error, and not waited for in silence.
  private func looking(
    _ options: ConnectionOptions, _ body: (Session) async throws -> [Problem]
  ) async throws -> [Problem] {
    try await Session.connect(options, threadName: "redirection").closing { session in
      try await ShardSessions.prepare(session)
      try await session.script(SessionBounds.lockTimeout())
      return try await body(session)
    }
  }

  /// The statements of a projection that cannot be redirected; none if it declares no tables, or its tables do not exist yet.
  package func strays(
    _ definition: ProjectionDefinition, _ options: ConnectionOptions
  ) async throws -> [Problem] {
    try await looking(options) { session in
      let originals: OriginalTables
      do {
        originals = try await OriginalTables.read(definition.tables, of: definition.name, session)
      } catch let problem as Problem where problem.isOfRebuild {
        return []
      }
      try await session.script("SET client_min_messages = warning")
      for table in originals.tables {
        try await session.script("CREATE TEMP TABLE \(SQL.quoted(table.name)) (LIKE \(table.qualified) INCLUDING ALL)")
      }
      let path = PagePath(
        SearchPath(schemas: ["pg_temp"] + session.operatorPath.schemas), .live(shard: "\(definition.shard)")
      )
      var findings: [Problem] = []
      for (sql, statement) in statements(of: definition) {
        guard let found = try await look(sql, path, originals, session) else { continue }
        findings.append(
          Problem(found, hint: strayHint, source: statement.source, key: definition.settingsKey))
      }
      return findings
    }
  }

  /// The statements of a projection that write tables it does not declare, or their partitions.
  ///
  /// A rebuild in place empties only declared tables, so the others would get the effect of each event a second time.
  func undeclared(_ definition: ProjectionDefinition, _ options: ConnectionOptions) async throws -> [Problem] {
    try await looking(options) { session in
      let originals = try await OriginalTables.read(definition.tables, of: definition.name, session)
      var findings: [Problem] = []
      for (sql, statement) in statements(of: definition) {
        try await session.script("BEGIN")
        do {
          if let table = try await written(sql, besides: originals, session) {
            findings.append(
              Problem(
                "it writes \(table), which `tables` does not name: every event would count there a second time",
                hint: "Name it in \(definition.settingsKey).tables, so that it is emptied too.",
                source: statement.source,
                key: definition.settingsKey))
          }
          try await session.script("ROLLBACK")
        } catch let error as PostgresError where error.sqlState != nil && !error.isConnectionLoss {
          // A statement that cannot be planned fails in its first page, before it writes anything.
          await session.rollBack()
        }
        try await session.script("DEALLOCATE ALL")
      }
      return findings
    }
  }

  /// The tables that planning a statement locks for writing, besides the originals.
  private func written(_ sql: SQL, besides originals: OriginalTables, _ session: Session) async throws -> String? {
    try await explain(sql, PagePath(session.operatorPath, .live(shard: "")), session)
    let rows = try await session.execute(
      """
      SELECT s.relation FROM tidemark_internal.stray_relations('', '{}') AS s
       WHERE s.is_written
         AND NOT EXISTS (SELECT FROM pg_partition_ancestors(to_regclass(s.relation)) AS a WHERE a.relid = ANY (\(originals.oids)::bigint[]::oid[]))
         AND to_regclass(s.relation) <> ALL (\(originals.oids)::bigint[]::oid[])
       ORDER BY 1
      """
    ).rows
    return rows.isEmpty ? nil : try rows.map { try $0.get(0, as: String.self) }.joined(separator: ", ")
  }

  private func explain(_ sql: SQL, _ path: PagePath, _ session: Session) async throws {
    try await session.execute(path.enter)
    try await session.prepare(sql, name: "looked_at")
    let nulls = sql.binds.isEmpty ? "" : "(\(sql.binds.map { _ in "NULL" }.joined(separator: ", ")))"
    if SQLText.isPlanned(sql.text) {
      try await session.script("EXPLAIN EXECUTE looked_at\(nulls)")
    }
    try await session.execute(PagePath.leave)
  }

  private func statements(of definition: ProjectionDefinition) -> [(SQL, Statement)] {
    switch definition.effect {
    case .batch(let statements): statements.map { (SQL(text: $0.text), $0) }
    case .perEvent(let statements):
      statements.sorted { $0.key < $1.key }.map { _, bound in
        let binds = bound.columns.map { Bind(nil, type: $0.typeOID(streamIDType: shape.streamIDType)) }
        return (SQL(text: bound.text, binds: binds), bound.statement)
      }
    // The statements of a plugin are unknown before it answers.
    case .plugin: []
    }
  }

  /// Checks one statement in a transaction that is rolled back; returns nil if it uses only the new tables, or cannot be planned, which
  /// ``DefinitionCheck`` reports.
  private func look(
    _ sql: SQL, _ path: PagePath, _ originals: OriginalTables, _ session: Session
  ) async throws -> String? {
    try await session.script("BEGIN")
    do {
      let stray = try await plan(sql, path, originals, session)
      let function = stray == nil ? try await functions(sql, path, originals, session) : nil
      try await session.script("ROLLBACK")
      try await session.script("DEALLOCATE ALL")
      return stray ?? function
    } catch let error as PostgresError where error.sqlState != nil && !error.isConnectionLoss {
      await session.rollBack()
      try await session.script("DEALLOCATE ALL")
      return nil
    }
  }

  private func plan(
    _ sql: SQL, _ path: PagePath, _ originals: OriginalTables, _ session: Session
  ) async throws -> String? {
    try await explain(sql, path, session)
    let rows = try await session.execute(
      "SELECT relation, is_written FROM tidemark_internal.stray_relations('', \(originals.oids)::bigint[]::oid[])"
    ).rows
    guard !rows.isEmpty else { return nil }
    let found = try rows.map { row in
      "\(try row.get("is_written", as: Bool.self) ? "writes" : "reads") \(try row.get("relation", as: String.self))"
    }
    return "a rebuild cannot redirect this statement to the new tables: it \(found.joined(separator: ", "))"
  }

  /// Finds functions that the statement calls, directly or not, and that name one of the tables with its schema, or set their own search
  /// path.
  ///
  /// In the catalog a function with a parsed body depends on all that it uses, so the check makes the statement the body of a function.
  private func functions(
    _ sql: SQL, _ path: PagePath, _ originals: OriginalTables, _ session: Session
  ) async throws -> String? {
    try await session.script("SAVEPOINT probe")
    do {
      try await makeProbe(sql, path, session)
    } catch let error as PostgresError where error.sqlState != nil && !error.isConnectionLoss {
      // The pages of the rebuild check statements that cannot be a function's body.
      try await session.script("ROLLBACK TO SAVEPOINT probe")
      return nil
    }
    let rows = try await session.execute(
      """
      WITH RECURSIVE used (oid) AS (
          SELECT d.refobjid FROM pg_catalog.pg_depend AS d
           WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.refclassid = d.classid
             AND d.objid = (SELECT p.oid FROM pg_catalog.pg_proc AS p WHERE p.proname = 'tidemark_probe' AND p.pronamespace = pg_my_temp_schema())
           UNION
          SELECT d.refobjid FROM used JOIN pg_catalog.pg_depend AS d ON d.objid = used.oid
           WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.refclassid = d.classid)
      SELECT p.oid::regprocedure::text AS function, t.qualified
        FROM used JOIN pg_catalog.pg_proc AS p ON p.oid = used.oid,
             (SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS qualified,
                     regexp_replace(n.nspname, '(\\W)', '\\\\\\1', 'g') AS schema, regexp_replace(c.relname, '(\\W)', '\\\\\\1', 'g') AS name
                FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
               WHERE c.oid = ANY (\(originals.oids)::bigint[]::oid[])) AS t
       WHERE CASE WHEN p.prosqlbody IS NOT NULL
                  THEN EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                                WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid
                                  AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = t.oid)
                  ELSE p.prosrc ~* ('\\m"?' || t.schema || '"?\\s*\\.\\s*"?' || t.name || '("|\\M)')
                       OR (EXISTS (SELECT FROM unnest(p.proconfig) AS c WHERE starts_with(c, 'search_path='))
                           AND p.prosrc ~* ('\\m' || t.name || '\\M')) END
       ORDER BY 1, 2
      """
    ).rows
    guard let row = rows.first else { return nil }
    return "a rebuild cannot redirect this statement to the new tables: "
      + "function \(try row.get("function", as: String.self)) uses \(try row.get("qualified", as: String.self)) regardless of the search path"
  }

  private func makeProbe(_ sql: SQL, _ path: PagePath, _ session: Session) async throws {
    var types: [String] = []
    for bind in sql.binds {
      let row = try await session.execute("SELECT format_type(\(Int64(bind.type))::oid, NULL)").rows[0]
      types.append(try row.get(0, as: String.self))
    }
    try await session.execute(path.enter)
    try await session.script(
      """
      CREATE FUNCTION pg_temp.tidemark_probe(\(types.joined(separator: ", "))) RETURNS void LANGUAGE sql BEGIN ATOMIC
      \(sql.text);
      END
      """)
    try await session.execute(PagePath.leave)
  }
}
