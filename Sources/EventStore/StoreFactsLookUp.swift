package import Postgres
package import Rules

/// Reads ``StoreFacts`` from the catalogs, in one statement and one snapshot, with the numbers of sequence and table read last.
package enum StoreFactsLookUp {
  /// What ``read(_:schema:)`` asks first, for `Session.ask(ahead:)`.
  package static func questions(schema: String) -> [SQL] { [statement(schema: schema), leaves(schema: schema)] }

  /// - Parameter schema: of the event store, unquoted.
  /// - Returns: nil where the table or its sequence does not exist.
  package static func read(_ session: Session, schema: String) async throws -> StoreFacts? {
    guard let row = try await session.execute(statement(schema: schema)).rows.first else { return nil }
    var facts = StoreFacts(
      table: try row.get("table_name", as: String.self),
      sequence: StoreFacts.Sequence(name: try row.get("sequence_name", as: String.self)))
    facts.kind = try raw(row, "kind")
    facts.persistence = try raw(row, "persistence")
    facts.numberType = try row.get("number_type", as: String?.self) ?? ""
    facts.numberDefault = try row.get("number_default", as: String?.self)
    facts.sequence.increment = try row.get("increment", as: Int64.self)
    facts.sequence.cache = try row.get("cache", as: Int64.self)
    facts.sequence.cycles = try row.get("cycles", as: Bool.self)
    facts.sequence.persistence = try raw(row, "sequence_persistence")
    facts.insertTriggers = try list(row, "triggers")
    facts.insertRules = try list(row, "rules")
    facts.subscriptions = try list(row, "subscriptions")
    facts.foreignEngine = try row.get("engine", as: String?.self)
    if let role = try row.get("reader_filtered", as: String?.self) {
      facts.rowSecurity = .reader(role: role)
    } else if let role = try row.get("owner_filtered", as: String?.self) {
      facts.rowSecurity = .viewOwner(role: role)
    }
    facts.leaves = try await session.execute(leaves(schema: schema)).rows.map { row in
      var leaf = StoreFacts.Leaf(
        name: try row.get("name", as: String.self), numberDefault: try row.get("number_default", as: String?.self))
      leaf.persistence = try raw(row, "persistence")
      leaf.isForeign = try row.get("is_foreign", as: Bool.self)
      return leaf
    }
    // A table that cannot be followed may be one that cannot be read either.
    guard facts.kind == .table || facts.kind == .partitioned, facts.rowSecurity == nil else { return facts }
    let (table, sequence) = names(schema)
    let numbers = try await session.execute(
      """
      SELECT CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - \(facts.sequence.increment) END AS handed_out,
             coalesce((SELECT max(e.seq_id) FROM \(raw: table) AS e), 0)::bigint AS highest_visible,
             coalesce((SELECT min(e.seq_id) FROM \(raw: table) AS e), 1)::bigint AS lowest_visible
        FROM \(raw: sequence) AS s
      """
    ).rows[0]
    facts.handedOut = try numbers.get("handed_out", as: Int64.self)
    facts.lowestVisible = try numbers.get("lowest_visible", as: Int64.self)
    facts.highestVisible = try numbers.get("highest_visible", as: Int64.self)
    if try row.get("has_binary", as: Bool.self) {
      facts.binaryTypes = try await session.execute(
        """
        SELECT DISTINCT n.type
          FROM (SELECT e.type::text AS type, e.bdata IS NOT NULL AS is_binary
                  FROM \(raw: table) AS e ORDER BY e.seq_id DESC LIMIT 10000) AS n
         WHERE n.is_binary ORDER BY 1 LIMIT 5
        """
      ).rows.map { try $0.get(0, as: String.self) }
    }
    if facts.sequence.increment > 1 {
      facts.numbersBetweenSteps = try await session.execute(
        """
        SELECT n.seq_id::bigint AS number
          FROM (SELECT e.seq_id FROM \(raw: table) AS e ORDER BY e.seq_id DESC LIMIT 10000) AS n,
               (SELECT seqstart, seqincrement FROM pg_catalog.pg_sequence
                 WHERE seqrelid = \(sequence)::regclass) AS s
         WHERE (n.seq_id - s.seqstart) % s.seqincrement <> 0
         LIMIT 3
        """
      ).rows.map { try $0.get("number", as: Int64.self) }
    }
    return facts
  }

  private static func raw<T: RawRepresentable<String>>(_ row: Row, _ column: String) throws -> T {
    let text = try row.get(column, as: String.self)
    guard let value = T(rawValue: text) else {
      throw Problem(
        .store(.unfitStore), "the event table has \(column) \"\(text)\", which this program does not know",
        hint: "Use a newer Tidemark.")
    }
    return value
  }

  private static func list(_ row: Row, _ column: String) throws -> [String] {
    (try row.get(column, as: String?.self) ?? "").split(separator: "\n").map(String.init)
  }

  /// The event table and its sequence, qualified and quoted for SQL.
  private static func names(_ schema: String) -> (table: String, sequence: String) {
    ("\(SQL.quoted(schema)).mt_events", "\(SQL.quoted(schema)).\(StoreShape.sequenceName)")
  }

  private static func statement(schema: String) -> SQL {
    let (table, sequence) = names(schema)
    return """
      WITH family AS (
          SELECT t.oid AS relid FROM pg_catalog.pg_class AS t
           WHERE t.oid = to_regclass(\(table))
           UNION
          SELECT p.relid FROM pg_catalog.pg_partition_tree(to_regclass(\(table))) AS p
      ), viewed AS (
          SELECT v.relowner FROM pg_catalog.pg_class AS v JOIN pg_catalog.pg_namespace AS vn ON vn.oid = v.relnamespace
           WHERE vn.nspname = 'tidemark' AND v.relname = 'batch'
      )
      SELECT format('%I.%I', n.nspname, t.relname) AS table_name,
             (SELECT format('%I.%I', sn.nspname, sc.relname) FROM pg_catalog.pg_namespace AS sn WHERE sn.oid = sc.relnamespace)
               AS sequence_name,
             t.relkind::text AS kind, t.relpersistence::text AS persistence, sc.relpersistence::text AS sequence_persistence,
             format_type(a.atttypid, NULL) AS number_type,
             CASE WHEN a.attidentity <> ''
                  THEN format('nextval(%L::regclass)', pg_get_serial_sequence(format('%I.%I', n.nspname, t.relname), 'seq_id'))
                  ELSE pg_get_expr(d.adbin, d.adrelid) END AS number_default,
             q.seqincrement AS increment, q.seqcache AS cache, q.seqcycle AS cycles,
             (SELECT string_agg(format('%I on %s', g.tgname, g.tgrelid::regclass), E'\\n' ORDER BY g.tgname)
                FROM pg_catalog.pg_trigger AS g
               -- ROW = 1, BEFORE = 2, INSERT = 4. A trigger for replicas alone does not fire for writers.
               WHERE g.tgrelid IN (SELECT relid FROM family) AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')
                 AND g.tgtype & 7 = 7) AS triggers,
             (SELECT string_agg(format('%I', r.rulename), E'\\n' ORDER BY r.rulename)
                FROM pg_catalog.pg_rewrite AS r
               WHERE r.ev_class = t.oid AND r.ev_type = '3' AND r.ev_enabled IN ('O', 'A')) AS rules,
             (SELECT string_agg(DISTINCT u.subname, E'\\n')
                FROM pg_catalog.pg_subscription_rel AS sr LEFT JOIN pg_catalog.pg_subscription AS u ON u.oid = sr.srsubid
               WHERE sr.srrelid IN (SELECT relid FROM family)) AS subscriptions,
             (SELECT x.extname FROM pg_catalog.pg_extension AS x WHERE x.extname IN ('yb_pg_metrics', 'gp_toolkit') LIMIT 1) AS engine,
             EXISTS (SELECT FROM pg_catalog.pg_attribute AS b
                      WHERE b.attrelid = t.oid AND b.attname = 'bdata' AND NOT b.attisdropped) AS has_binary,
             CASE WHEN row_security_active(t.oid) THEN quote_ident(current_user) END AS reader_filtered,
             (SELECT quote_ident(o.rolname) FROM viewed AS v JOIN pg_catalog.pg_roles AS o ON o.oid = v.relowner
               WHERE t.relrowsecurity AND NOT o.rolsuper AND NOT o.rolbypassrls
                 AND NOT (pg_has_role(v.relowner, t.relowner, 'USAGE') AND NOT t.relforcerowsecurity)) AS owner_filtered
        FROM pg_catalog.pg_class AS t
        JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
        JOIN pg_catalog.pg_class AS sc ON sc.oid = to_regclass(\(sequence))
        JOIN pg_catalog.pg_sequence AS q ON q.seqrelid = sc.oid
        LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid AND a.attname = 'seq_id' AND NOT a.attisdropped
        LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = t.oid AND d.adnum = a.attnum
       WHERE t.oid = to_regclass(\(table))
      """
  }

  private static func leaves(schema: String) -> SQL {
    let table = names(schema).table
    return """
      SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relpersistence::text AS persistence, c.relkind = 'f' AS is_foreign,
             (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef AS d
                JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
               WHERE d.adrelid = c.oid AND a.attname = 'seq_id') AS number_default
        FROM pg_catalog.pg_partition_tree(to_regclass(\(table))) AS p
        JOIN pg_catalog.pg_class AS c ON c.oid = p.relid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
       WHERE p.isleaf AND p.relid <> to_regclass(\(table))
       ORDER BY 1
      """
  }
}
