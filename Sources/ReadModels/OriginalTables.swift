package import Postgres
package import Rules

/// The current tables of a read model, as looked up before a rebuild.
package struct OriginalTables: Sendable {
  package struct Table: Sendable, Hashable {
    /// As the operator declared it.
    package var declared: String
    package var oid: Int64
    package var schema: String
    /// Without its schema.
    package var name: String
    /// The objects that depend on it and that a swap would drop, in words.
    package var obstacles: [String]
    /// The tables its foreign keys reference, qualified.
    package var references: [String]
    package var columns: [String]
    /// The keys that foreign keys reference, each as its columns.
    package var referredKeys: [String]
    /// Unique columns that number the table's rows automatically, so a rebuild gives its rows other numbers.
    package var numberedKeys: [String]
    /// Why its rows cannot be deleted and inserted again.
    package var objections: [ExchangeChoice.Objection]
    /// Columns that PostgreSQL always numbers itself, beside the keys that foreign keys reference: the rows that stay keep their numbers.
    package var fixedNumbers: [String]
    /// If true, its partitions have its rows; otherwise tables that inherit from it have rows of their own.
    var isPartitioned: Bool

    /// Names only its own rows, for DELETE and the like.
    var only: String { isPartitioned ? qualified : "ONLY \(qualified)" }

    /// With its schema, quoted for SQL.
    package var qualified: String { "\(SQL.quoted(schema)).\(SQL.quoted(name))" }
  }

  package let tables: [Table]
  /// Changes with columns, indexes or constraints.
  private let rows: String
  /// Changes with everything else that a new table copies when it is created.
  private let rest: String

  /// The shape that the new tables copy.
  package var shape: String { "\(rows) \(rest)" }

  /// Whether new tables with the shape `shape` still fit: for a copy into these tables, or for a swap with them.
  package func fit(_ shape: String?, for way: ExchangeWay) -> Bool {
    switch way {
    case .swap: shape == self.shape
    case .copy: shape.map { $0.hasPrefix(rows + " ") } ?? false
    }
  }

  package var oids: [Int64] { tables.map(\.oid) }

  package var obstacles: [ExchangeChoice.Obstacles] {
    tables.map {
      ExchangeChoice.Obstacles(
        table: "\($0.schema).\($0.name)", found: $0.obstacles, referredKeys: $0.referredKeys,
        objections: $0.objections, fixedNumbers: $0.fixedNumbers)
    }
  }

  /// Each after those it references.
  package var inOrder: [Table] {
    let references = Dictionary(uniqueKeysWithValues: tables.map { ($0.qualified, $0.references) })
    let order = ExchangeChoice.inOrder(tables.map(\.qualified), references: references)
    return order.compactMap { name in tables.first { $0.qualified == name } }
  }

  /// Looks the tables up, by the session's search path.
  ///
  /// - Throws: ``Problem`` if they cannot be rebuilt.
  package static func read(_ declared: [String], of projection: String, _ session: Session) async throws
    -> OriginalTables
  {
    guard !declared.isEmpty else {
      throw Problem(
        .rebuild(.noTables), "projection \(projection) does not declare the tables it fills",
        hint: "Declare them: tables = [\"…\"]. A rebuild creates new tables beside these.")
    }
    var tables: [Table] = []
    for name in declared {
      let table = DeclaredTable(name, of: projection)
      guard let found = try await table.find(session),
        let row = try await session.execute(lookUp(found.oid)).rows.first
      else { throw table.missing }
      let kind = try row.get("kind", as: String.self)
      guard ["r", "p"].contains(kind) else {
        throw Problem(
          .rebuild(.noTables), "\(name) of projection \(projection) is not a table",
          hint: "Only tables can be rebuilt.")
      }
      tables.append(
        Table(
          declared: name, oid: try row.get("oid", as: Int64.self), schema: try row.get("schema", as: String.self),
          name: try row.get("name", as: String.self),
          obstacles: try list(row, "obstacles"), references: try list(row, "refers_to"),
          columns: try list(row, "columns"), referredKeys: try list(row, "referred_keys"),
          numberedKeys: try list(row, "numbered_keys"), objections: try objections(row),
          fixedNumbers: try list(row, "fixed_numbers"), isPartitioned: kind == "p"))
    }
    if let twice = tables.first(where: { table in tables.count { $0.name == table.name } > 1 }) {
      throw Problem(
        .rebuild(.notRedirected), "projection \(projection) fills two tables named \(twice.name), in different schemas",
        hint: "The search path can lead to only one of them. Rebuild with --in-place.")
    }
    let shape = try await session.execute(shapeStatement(tables.map(\.oid))).rows[0]
    return OriginalTables(
      tables: tables, rows: try shape.get("rows", as: String.self), rest: try shape.get("rest", as: String.self))
  }

  private static func list(_ row: Row, _ column: String) throws -> [String] {
    try row.get(column, as: String?.self)?.split(separator: "\u{1F}").map(String.init) ?? []
  }

  private static func objections(_ row: Row) throws -> [ExchangeChoice.Objection] {
    try list(row, "objections").map { text in
      let parts = text.split(separator: "\u{1E}", omittingEmptySubsequences: false).map(String.init)
      return ExchangeChoice.Objection(what: parts[0], fix: parts[1])
    }
  }

  /// `pg_depend` lists the objects that depend on a table; parts of the table itself do not count.
  private static func lookUp(_ oid: Int64) -> SQL {
    """
    WITH keys AS (
        SELECT i.indrelid AS relation, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns,
               EXISTS (SELECT FROM pg_catalog.pg_constraint AS f
                        WHERE f.contype = 'f' AND f.confrelid = i.indrelid AND f.conindid = i.indexrelid) AS is_referred,
               bool_and(a.attnum IN (SELECT n.number FROM tidemark_internal.numbered_columns(i.indrelid) AS n)) AS is_numbered
          FROM pg_catalog.pg_index AS i
          JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS u (number, place) ON u.place <= i.indnkeyatts
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = u.number
         WHERE i.indrelid = \(oid)::oid AND i.indisunique AND i.indexprs IS NULL
         GROUP BY i.indrelid, i.indexrelid)
    SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
           (SELECT string_agg(a.attname, chr(31)) FROM pg_catalog.pg_attribute AS a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
           (SELECT string_agg(DISTINCT k.columns, chr(31) ORDER BY k.columns) FROM keys AS k WHERE k.relation = c.oid AND k.is_referred)
               AS referred_keys,
           (SELECT string_agg(DISTINCT k.columns, chr(31) ORDER BY k.columns) FROM keys AS k WHERE k.relation = c.oid AND k.is_numbered)
               AS numbered_keys,
           (SELECT string_agg(quote_ident(a.attname), chr(31) ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a
             WHERE a.attrelid = c.oid AND a.attidentity = 'a' AND NOT a.attisdropped
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS f
                                WHERE f.contype = 'f' AND f.confrelid = c.oid AND a.attnum = ANY (f.confkey))) AS fixed_numbers,
           -- A partition is published by itself or by its root.
           (SELECT string_agg(DISTINCT o.what || chr(30) || o.fix, chr(31)) FROM (
              SELECT leaf.oid, leaf.relname, leaf.relreplident, leaf.relkind, ln.nspname, p.pubname, p.pubinsert, p.pubupdate, p.pubdelete
                FROM pg_catalog.pg_class AS leaf JOIN pg_catalog.pg_namespace AS ln ON ln.oid = leaf.relnamespace
                JOIN pg_catalog.pg_publication_tables AS t ON t.schemaname = ln.nspname AND t.tablename = leaf.relname
                JOIN pg_catalog.pg_publication AS p ON p.pubname = t.pubname
               WHERE leaf.oid = c.oid OR leaf.oid IN (SELECT x.relid FROM pg_partition_tree(c.oid) AS x)) AS t,
              LATERAL (
              SELECT format('publication %I carries no %s of %I.%I, so its subscribers would keep other rows than the table',
                            t.pubname, concat_ws(' and no ', CASE WHEN NOT t.pubinsert THEN 'insert' END,
                                                 CASE WHEN NOT t.pubupdate THEN 'update' END, CASE WHEN NOT t.pubdelete THEN 'delete' END),
                            t.nspname, t.relname) AS what,
                     format('Run: ALTER PUBLICATION %I SET (publish = ''insert, update, delete, truncate''); or take the table out of it, rebuild, add it again, and copy it to the subscribers.',
                            t.pubname) AS fix
               WHERE NOT (t.pubinsert AND t.pubupdate AND t.pubdelete)
              UNION ALL
              SELECT format('table %I.%I is in publication %I and has no replica identity, so PostgreSQL lets no row of it be deleted',
                            t.nspname, t.relname, t.pubname),
                     format('Run: ALTER TABLE %I.%I REPLICA IDENTITY FULL', t.nspname, t.relname)
               WHERE (t.pubdelete OR t.pubupdate) AND t.relkind = 'r'
                 AND CASE t.relreplident
                     WHEN 'f' THEN false
                     WHEN 'n' THEN true
                     WHEN 'd' THEN NOT EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = t.oid AND i.indisprimary)
                     ELSE NOT EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = t.oid AND i.indisreplident) END) AS o) AS objections,
           (SELECT string_agg(format('%I.%I', rn.nspname, rc.relname), chr(31))
              FROM pg_catalog.pg_constraint AS k
              JOIN pg_catalog.pg_class AS rc ON rc.oid = k.confrelid
              JOIN pg_catalog.pg_namespace AS rn ON rn.oid = rc.relnamespace
             WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid <> c.oid) AS refers_to,
           (SELECT string_agg(o.what, chr(31) ORDER BY o.rank, o.what) FROM (
              SELECT DISTINCT 1 AS rank,
                     CASE WHEN d.classid = 'pg_catalog.pg_rewrite'::regclass
                          THEN (SELECT pg_describe_object('pg_catalog.pg_class'::regclass, w.ev_class, 0)
                                  FROM pg_catalog.pg_rewrite AS w WHERE w.oid = d.objid)
                          ELSE pg_describe_object(d.classid, d.objid, 0) END AS what
                FROM pg_catalog.pg_depend AS d
               WHERE d.deptype = 'n'
                 AND ((d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid)
                      OR (d.refclassid = 'pg_catalog.pg_type'::regclass
                          AND d.refobjid IN (SELECT t.oid FROM pg_catalog.pg_type AS t
                                              WHERE t.oid = c.reltype
                                                 OR t.oid = (SELECT y.typarray FROM pg_catalog.pg_type AS y WHERE y.oid = c.reltype)))
                      OR (d.refclassid = 'pg_catalog.pg_class'::regclass
                          AND d.refobjid IN (SELECT s.objid FROM pg_catalog.pg_depend AS s
                                              WHERE s.refobjid = c.oid AND s.deptype IN ('a', 'i')
                                                AND s.classid = 'pg_catalog.pg_class'::regclass
                                                AND s.refclassid = 'pg_catalog.pg_class'::regclass)))
                 AND NOT (d.classid = 'pg_catalog.pg_constraint'::regclass
                          AND d.objid IN (SELECT k.oid FROM pg_catalog.pg_constraint AS k WHERE k.conrelid = c.oid))
                 AND NOT (d.classid = 'pg_catalog.pg_attrdef'::regclass
                          AND d.objid IN (SELECT e.oid FROM pg_catalog.pg_attrdef AS e WHERE e.adrelid = c.oid))
                 AND NOT (d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid)
              UNION ALL
              SELECT 2, format('foreign key %s', k.conname) FROM pg_catalog.pg_constraint AS k
               WHERE k.conrelid = c.oid AND k.contype = 'f'
              UNION ALL
              SELECT 3, format('trigger %s', t.tgname) FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
              UNION ALL
              SELECT 4, 'row security' WHERE c.relrowsecurity
                  OR EXISTS (SELECT FROM pg_catalog.pg_policy AS p WHERE p.polrelid = c.oid)
              UNION ALL
              SELECT 5, format('publication %s', p.pubname) FROM pg_catalog.pg_publication_tables AS p
               WHERE p.schemaname = n.nspname AND p.tablename = c.relname
              UNION ALL
              SELECT 6, 'partitions or inheritance' WHERE c.relkind = 'p'
                  OR EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE c.oid IN (i.inhrelid, i.inhparent))
              UNION ALL
              SELECT 7, format('extension %s', x.extname) FROM pg_catalog.pg_depend AS d
                JOIN pg_catalog.pg_extension AS x ON x.oid = d.refobjid
               WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
              UNION ALL
              SELECT 8, format('its owner %s, whose role %s does not have,', pg_get_userbyid(c.relowner), current_user)
               WHERE NOT pg_has_role(c.relowner, 'USAGE')
              UNION ALL
              SELECT 9, format('the missing privilege to create tables in schema %s', n.nspname)
               WHERE NOT has_schema_privilege(n.oid, 'CREATE') OR NOT has_schema_privilege(c.relowner, n.oid, 'CREATE')
           ) AS o) AS obstacles
      FROM pg_catalog.pg_class AS c
      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = \(oid)::oid
    """
  }

  private static func shapeStatement(_ oids: [Int64]) -> SQL {
    """
    WITH class AS (SELECT c.* FROM pg_catalog.pg_class AS c WHERE c.oid = ANY (\(oids)::bigint[]::oid[])),
         index AS (SELECT i.* FROM pg_catalog.pg_index AS i JOIN class AS c ON c.oid = i.indrelid),
         bound AS (SELECT k.* FROM pg_catalog.pg_constraint AS k JOIN class AS c ON c.oid = k.conrelid WHERE k.contype IN ('p', 'u', 'x', 'c')),
         known AS (SELECT s.* FROM pg_catalog.pg_statistic_ext AS s JOIN class AS c ON c.oid = s.stxrelid),
         col AS (SELECT a.* FROM pg_catalog.pg_attribute AS a JOIN class AS c ON c.oid = a.attrelid
                  WHERE a.attnum > 0 AND NOT a.attisdropped),
         number AS (SELECT s.*, d.refobjid, d.refobjsubid FROM pg_catalog.pg_depend AS d
                      JOIN pg_catalog.pg_sequence AS s ON s.seqrelid = d.objid
                      JOIN class AS c ON c.oid = d.refobjid
                     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = d.classid AND d.deptype IN ('a', 'i'))
    SELECT (SELECT md5(string_agg(part, ';' ORDER BY part)) FROM (
              SELECT format('%s %s %s %s %s', a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated)
                FROM col AS a
              UNION ALL
              SELECT pg_get_indexdef(i.indexrelid) FROM index AS i
              UNION ALL
              SELECT format('%s %s', k.conname, pg_get_constraintdef(k.oid)) FROM bound AS k
              UNION ALL
              -- Copying from an unlogged table does no harm; but swapped in for a logged one, it would lose its rows in a crash.
              SELECT format('%s %s', c.oid, tidemark_internal.has_unlogged_shadow(c.oid)) FROM class AS c) AS parts (part)) AS rows,
           (SELECT md5(string_agg(part, ';' ORDER BY part)) FROM (
              SELECT format('%s %s %s %s %s %s %s %s %s', a.attrelid, a.attname, a.attidentity, a.attstattarget, a.attstorage,
                            a.attcompression, a.attcollation, pg_get_expr(d.adbin, d.adrelid),
                            -- The server sets the others itself.
                            (SELECT array_agg(o) FROM unnest(a.attoptions) AS o WHERE o LIKE 'n_distinct%'))
                FROM col AS a LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
              UNION ALL
              SELECT format('%s %s %s %s %s %s %s %s', c.oid, c.relname, c.reloptions, t.reloptions, c.relreplident, c.relpersistence,
                            c.relam, c.reltablespace)
                FROM class AS c LEFT JOIN pg_catalog.pg_class AS t ON t.oid = c.reltoastrelid
              UNION ALL
              SELECT format('%s %s %s %s %s', c.relname, i.indisreplident, i.indisclustered, c.reltablespace,
                            (SELECT array_agg(a.attstattarget ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a
                              WHERE a.attrelid = i.indexrelid))
                FROM index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
              UNION ALL
              SELECT format('%s %s', s.stxstattarget, pg_get_statisticsobjdef(s.oid)) FROM known AS s
              UNION ALL
              SELECT format('%s %s %s %s %s %s %s %s %s %s', n.refobjid, n.refobjsubid,
                            (SELECT s.relname FROM pg_catalog.pg_class AS s WHERE s.oid = n.seqrelid), n.seqtypid, n.seqstart,
                            n.seqincrement, n.seqmax, n.seqmin, n.seqcache, n.seqcycle)
                FROM number AS n
              UNION ALL
              SELECT format('%s %s', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description) FROM pg_catalog.pg_description AS d
               WHERE (d.classoid = 'pg_catalog.pg_class'::regclass
                      AND d.objoid IN (SELECT oid FROM class UNION SELECT indexrelid FROM index UNION SELECT seqrelid FROM number))
                  OR (d.classoid = 'pg_catalog.pg_constraint'::regclass AND d.objoid IN (SELECT oid FROM bound))
                  OR (d.classoid = 'pg_catalog.pg_statistic_ext'::regclass AND d.objoid IN (SELECT oid FROM known))) AS parts (part)) AS rest
    """
  }
}
