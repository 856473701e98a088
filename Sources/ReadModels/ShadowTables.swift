package import Books
package import EventStore
package import Postgres
package import Rules

/// The new tables of a rebuild, in a schema of their own, from their creation to their exchange for the old ones.
///
/// The projection's statements find them by the search path, in which the schema comes first.
package struct ShadowTables: Sendable {
  package let shape: StoreShape
  /// The shard's name.
  package let shard: String
  package let originals: OriginalTables

  package init(_ shape: StoreShape, shard: String, originals: OriginalTables) {
    self.shape = shape
    self.shard = shard
    self.originals = originals
  }

  private var table: RebuildTable { RebuildTable() }
  private var letters: String { PageTarget.letters(ofRebuildOf: shard) }

  /// `tidemark_rebuild_trip_all_1a2b3c4d`: readable, and unique to the shard.
  package static func schema(of shard: String) -> String {
    let plain = shard.lowercased().unicodeScalars.map { scalar in
      ("a"..."z").contains(scalar) || ("0"..."9").contains(scalar) ? Character(scalar) : "_"
    }
    return "tidemark_rebuild_\(String(plain.prefix(36)))_\(Fingerprint.text(shard).suffix(8))"
  }

  private var schema: String { Self.schema(of: shard) }

  private func shadow(of original: OriginalTables.Table) -> String {
    "\(SQL.quoted(schema)).\(SQL.quoted(original.name))"
  }

  /// Creates the empty tables and the workers' positions, all in one transaction.
  ///
  /// - Parameter first: the sequence after which the rebuild begins.
  package func make(
    _ row: RebuildTable.Row, _ choice: ExchangeChoice, after first: Int64, node: String, _ session: Session
  ) async throws {
    do {
      try await Self.namingHolders(of: schema, originals.tables.map(\.oid), session) { session in
        try await session.script("SET LOCAL client_min_messages = warning; \(Self.lockBound)")
        try await session.script(
          "DROP SCHEMA IF EXISTS \(SQL.quoted(schema)) CASCADE; CREATE SCHEMA \(SQL.quoted(schema))")
        for original in originals.tables {
          try await session.execute("SELECT tidemark_internal.make_shadow(\(original.oid)::oid::regclass, \(schema))")
        }
        try await table.beginWorkers(row, after: first, session)
        let made = try await session.execute(
          """
          UPDATE tidemark.rebuild
             SET state = 'replaying', schema = \(schema), shape = \(originals.shape), chosen_way = \(choice.way.rawValue),
                 way_reason = \(choice.reason), node = \(node), started_at = coalesce(started_at, now())
           WHERE id = \(row.id)
          """)
        guard made.affectedRows == 1 else {
          throw Problem.begunAnew
        }
      }
    } catch let error as PostgresError where error.sqlState == .insufficientPrivilege {
      let names = try await session.execute("SELECT current_database()::text, current_user::text").rows[0]
      let database = SQL.quoted(names.text(0) ?? "")
      throw Problem(
        .rebuild(.noPrivilege), "cannot create the new tables: \(error.message)",
        hint:
          "As the owner of the database, run: GRANT CREATE ON DATABASE \(database) TO \(SQL.quoted(names.text(1) ?? ""))"
      )
    }
  }

  /// Removes the tables and letters of a shard's rebuild, and clears them from its row.
  ///
  /// - Parameter failure: why it ended, for the row of one that failed.
  package static func remove(
    _ row: RebuildTable.Row, as state: RebuildTable.State, because failure: Problem? = nil, _ session: Session
  ) async throws {
    let schema = schema(of: row.shard)
    try await namingHolders(of: schema, [], session) { session in
      try await session.script(
        "SET LOCAL client_min_messages = warning; \(lockBound); DROP SCHEMA IF EXISTS \(SQL.quoted(schema)) CASCADE")
      try await session.execute(
        "DELETE FROM tidemark.dead_letter WHERE shard = \(PageTarget.letters(ofRebuildOf: row.shard))")
      try await RebuildTable().end(row.id, state, position: row.position, comparison: nil, session)
      if let failure { try await RebuildTable().fail(row.id, error: "\(failure)", hint: failure.hint, session) }
    }
  }

  /// Runs a transaction that waits for locks within ``lockBound``. If that is not enough, the error names the sessions in the way.
  private static func namingHolders(
    of schema: String, _ originals: [Int64], _ session: Session,
    _ body: @Sendable (isolated Session) async throws -> Void
  ) async throws {
    do {
      try await session.transaction(body)
    } catch {
      throw try await LockBound.naming(error, schema: schema, tables: originals, session)
    }
  }

  /// Whether a crash of the server has emptied the new tables.
  package func wereLost(_ session: Session) async throws -> Bool {
    try await session.execute("SELECT tidemark_internal.has_lost_shadows(\(schema))").rows[0].get(0, as: Bool.self)
  }

  /// The planner must have statistics of the new tables before readers use them.
  package func analyze(_ session: Session) async throws {
    for original in originals.tables { try await session.script("ANALYZE \(shadow(of: original))") }
  }

  // MARK: Closing, inside a transaction

  /// The live shard's position, locked to the end of the transaction.
  package func lockPosition(_ session: isolated Session) async throws -> Int64 {
    guard let position = try await Positions(shape).lock(shard, session) else {
      throw Problem(nothingAppliedBy: shard)
    }
    return position
  }

  /// The differences, as a JSON array with an object for each table.
  package func compare(_ filter: RowFilter, _ session: isolated Session) async throws -> String {
    var objects: [String] = []
    for original in originals.tables {
      objects.append(
        try await session.execute(
          """
          SELECT tidemark_internal.compare_rows(\(original.oid)::oid::regclass, \(shadow(of: original))::regclass, \(originals.tables.count == 1),
                                       \(filter.column), \(filter.values))::text
          """
        ).rows[0].get(0, as: String.self))
    }
    return "[\(objects.joined(separator: ","))]"
  }

  /// The tables that would have fewer rows after the exchange, in words.
  package func losses(_ filter: RowFilter, _ session: Session) async throws -> [String] {
    var losses: [String] = []
    for original in originals.tables {
      let counts = try await session.execute(
        """
        SELECT c.old, c.new
          FROM tidemark_internal.count_rows(\(original.oid)::oid::regclass, \(shadow(of: original))::regclass, \(filter.column),
                                            \(filter.values)) AS c
        """
      ).rows[0]
      let (old, new) = (try counts.get("old", as: Int.self), try counts.get("new", as: Int.self))
      if new < old { losses.append("\(original.declared) would have \(counted(new, "row")) instead of \(old)") }
    }
    return losses
  }

  /// Brings the shard's dead letters in line with the new rows. Call it before locking the tables, since another session may hold a letter.
  package func takeOverLetters(
    _ row: RebuildTable.Row, at position: Int64, types: [String]?, archived: Archived, _ session: isolated Session
  ) async throws {
    for setting in archived.settings { try await session.execute(setting) }
    try await session.execute(
      "SELECT tidemark_internal.take_over_letters(\(row.id), \(shard), \(letters), \(types), \(position))")
    for statement in LetterDocuments(shape).keep(nil, shard: shard) { try await session.execute(statement) }
  }

  /// Limits the wait for each lock from here to the end of the transaction, because the live shard waits meanwhile.
  package func boundLocks(_ session: isolated Session) async throws {
    try await session.script(Self.lockBound)
  }

  /// Longest that a statement waits to lock whole tables: others that want them wait behind it.
  private static let lockBound = "SET LOCAL \(LockBound.setting)"

  /// Locks the tables for a swap against all changes, but not against readers, with time for a running vacuum to give way.
  package func lockForSwap(_ session: isolated Session) async throws {
    let old = originals.tables.map(\.only).joined(separator: ", ")
    let new = originals.tables.map(shadow).joined(separator: ", ")
    try await session.script(
      """
      LOCK TABLE \(new) IN ACCESS EXCLUSIVE MODE;
      LOCK TABLE \(old) IN SHARE UPDATE EXCLUSIVE MODE;
      """)
  }

  /// The same for a copy: readers continue, other writers wait.
  package func lockForCopy(_ session: isolated Session) async throws {
    let old = originals.inOrder.map(\.only).joined(separator: ", ")
    try await session.script("LOCK TABLE \(old) IN SHARE ROW EXCLUSIVE MODE")
  }

  /// Replaces the old tables with the new ones. Readers wait for `patience` at most, and then for the few milliseconds it takes.
  ///
  /// - Returns: false if a reader blocked it; the transaction has then failed.
  package func swap(patience: Duration, _ session: isolated Session) async throws -> Bool {
    do {
      try await session.execute(
        """
        SELECT tidemark_internal.lock_out_readers(\(originals.oids)::bigint[]::oid[]::regclass[],
                                         \(Int(patience / .milliseconds(1))) * interval '1 ms')
        """)
    } catch {
      guard [.lockNotAvailable, .deadlockDetected].contains(error.sqlState) else { throw error }
      return false
    }
    try await session.script("SET LOCAL client_min_messages = warning")
    for original in originals.tables {
      try await session.execute(
        "SELECT tidemark_internal.swap_table(\(original.oid)::oid::regclass, \(shadow(of: original))::regclass)")
    }
    return true
  }

  /// Makes the old tables' rows equal to those of the new ones, changing only rows that differ.
  package func copy(_ filter: RowFilter, _ session: isolated Session) async throws {
    let order = originals.inOrder
    // Rows that reference these may be locked by others: wait until those transactions end.
    try await session.script("SET LOCAL lock_timeout TO DEFAULT; SET CONSTRAINTS ALL DEFERRED")
    try await session.execute(
      """
      SELECT tidemark_internal.copy_rows(\(order.map(\.oid))::bigint[]::oid[]::regclass[], \(order.map(shadow))::text[]::regclass[],
                                \(filter.column), \(filter.values), \(SearchPath.text(session.operatorPath.schemas)))
      """)
  }

  /// Empties the old tables and sets the shard back, for a rebuild without new tables.
  ///
  /// - Throws: ``Problem`` if a row stays, or if rows of other tables would go too.
  package func empty(backTo first: Int64, _ session: isolated Session) async throws {
    if let other = try await followers(session) {
      throw Problem(
        .rebuild(.notEmptied), "emptying the tables would also change rows of \(other)",
        hint: "Rebuild without --in-place, or drop that foreign key until the rebuild has ended.")
    }
    // Triggers of the tables run here and at COMMIT.
    let path = SearchPath.text(session.operatorPath.schemas)
    try await session.execute(SearchPath.set(path))
    // A policy that hid rows from the DELETE would leave them there, to be counted again.
    try await session.script("SET CONSTRAINTS ALL DEFERRED; SET LOCAL row_security = off")
    for original in originals.inOrder.reversed() { try await session.script("DELETE FROM \(original.only)") }
    try await session.execute(SearchPath.set(SearchPath.ours))
    for original in originals.tables {
      let left = try await session.execute(SQL(text: "SELECT EXISTS (SELECT FROM \(original.only))")).rows[0]
      if try left.get(0, as: Bool.self) {
        throw Problem(
          .rebuild(.notEmptied),
          "\(original.declared) has rows that DELETE does not remove: a rule or a trigger keeps them",
          hint: "Rebuild without --in-place, or disable that rule or trigger until the rebuild has ended.")
      }
    }
    for table in ["dead_letter", "skipped"] {
      try await session.execute("DELETE FROM tidemark.\(raw: table) WHERE shard = \(shard)")
    }
    for statement in record { try await session.execute(statement) }
    try await session.execute(
      """
      UPDATE \(raw: shape.store).mt_event_progression SET last_seq_id = \(first), last_updated = transaction_timestamp()
       WHERE name = \(shard)
      """)
    try await session.execute(Positions.record(first, of: shard))
  }

  /// A foreign key of another table that would carry a deletion on, in words; nil if there is none.
  private func followers(_ session: isolated Session) async throws -> String? {
    try await session.execute(
      """
      SELECT format('%I.%I, by its foreign key %s', n.nspname, c.relname, k.conname) AS what
        FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
       WHERE k.contype = 'f' AND k.confrelid = ANY (\(originals.oids)::bigint[]::oid[]) AND k.confdeltype IN ('c', 'n', 'd')
         AND k.conrelid <> ALL (\(originals.oids)::bigint[]::oid[])
       ORDER BY 1 LIMIT 1
      """
    ).rows.first?.get("what", as: String.self)
  }

  /// Records the tables that now have these names as those of the shard's position.
  private var record: [SQL] {
    FilledTables.record(originals.tables.map { ($0.declared, $0.qualified) }, of: shard)
  }

  /// The last statements in the transaction of an exchange.
  ///
  /// - Parameter live: the live shard's position; if the rebuild ended elsewhere, the shard moves there.
  package func conclude(
    _ row: RebuildTable.Row, _ choice: ExchangeChoice, at position: Int64, live: Int64, comparison: String?,
    _ session: isolated Session
  ) async throws {
    if position != live {
      try await session.execute("DELETE FROM tidemark.dead_letter WHERE shard = \(shard) AND seq_id > \(position)")
      try await session.execute(
        """
        UPDATE \(raw: shape.store).mt_event_progression SET last_seq_id = \(position), last_updated = transaction_timestamp()
         WHERE name = \(shard)
        """)
    }
    // From here on the tables belong to this position, whichever program moved it before. Of some streams only, that would not be so.
    if !row.request.isPartial { try await session.execute(Positions.record(position, of: shard)) }
    // A copy waits for rows without a limit, but not for the locks of this statement.
    try await session.script(
      "SET LOCAL client_min_messages = warning; \(Self.lockBound); DROP SCHEMA \(SQL.quoted(schema)) CASCADE")
    // A swap has put other tables in the place of the originals.
    for statement in record { try await session.execute(statement) }
    // After blocked swaps the rebuild may have chosen a copy.
    try await session.execute(
      "UPDATE tidemark.rebuild SET chosen_way = \(choice.way.rawValue), way_reason = \(choice.reason) WHERE id = \(row.id)"
    )
    try await table.end(row.id, .done, position: position, comparison: comparison, session)
  }
}

/// The rows that a rebuild covers: all, or those of some streams or tenants.
package struct RowFilter: Sendable, Hashable {
  /// The column that holds the id of the stream, or the tenant.
  package var column: String?
  package var values: [String]?

  package init(column: String? = nil, values: [String]? = nil) {
    self.column = column
    self.values = values
  }

}
