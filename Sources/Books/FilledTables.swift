package import EventStore
package import Postgres
package import Rules

/// The tables that each shard's position belongs to: `tidemark.filled_table`.
///
/// A name alone does not show that a table was dropped and created again, or that another shard fills it.
package struct FilledTables: Sendable {
  package let shape: StoreShape

  package init(_ shape: StoreShape) { self.shape = shape }

  /// A declared table that exists.
  package struct Table: Sendable, Hashable {
    /// As declared.
    package var name: String
    package var oid: Int64
    /// With its schema, quoted for SQL.
    package var qualified: String
    /// Another table had this name when it was recorded.
    package var isOther: Bool
    /// Nothing of a page that Tidemark applied is on record for this name.
    package var isNew: Bool
    /// The rows that `setup` has put there.
    package var seeds: Int64
  }

  /// What is on record of a shard's tables.
  ///
  /// - Parameter found: those that exist: each as declared, its object identifier, and with its schema, quoted.
  package func look(
    _ found: [(name: String, oid: Int64, qualified: String)], of shard: String, _ session: Session
  ) async throws -> [Table] {
    guard !found.isEmpty else { return [] }
    let rows = try await session.prepared(
      """
      SELECT d.name, d.oid, d.qualified,
             f.relation::bigint IS DISTINCT FROM d.oid AND f.beside = 'tidemark.shard'::regclass AS is_other,
             f.relation IS NULL OR f.beside <> 'tidemark.shard'::regclass
               OR NOT EXISTS (SELECT FROM tidemark.shard AS s WHERE s.name = \(shard) AND s.fingerprint IS NOT NULL) AS is_new,
             CASE WHEN f.relation::bigint = d.oid THEN f.seeds ELSE 0 END AS seeds
        FROM unnest(\(found.map(\.name))::text[], \(found.map(\.oid))::bigint[], \(found.map(\.qualified))::text[]) AS d (name, oid, qualified)
        LEFT JOIN tidemark.filled_table AS f ON f.shard = \(shard) AND f.name = d.name
      """
    ).rows
    return try rows.map { row in
      Table(
        name: try row.get("name", as: String.self), oid: try row.get("oid", as: Int64.self),
        qualified: try row.get("qualified", as: String.self),
        isOther: try row.get("is_other", as: Bool?.self) ?? false, isNew: try row.get("is_new", as: Bool.self),
        seeds: try row.get("seeds", as: Int64.self))
    }
  }

  /// Whether a table has more rows than a number.
  package func hasRows(_ table: Table, besides seeds: Int64 = 0, _ session: Session) async throws -> Bool {
    let rows = try await session.execute(
      SQL(text: "SELECT count(*) FROM (SELECT FROM \(table.qualified) LIMIT \(seeds + 1)) AS t")
    ).rows[0].get(0, as: Int64.self)
    return rows > seeds
  }

  /// Other shards with a position that fill one of the tables, by name.
  package func fillers(of tables: [Table], besides shard: String, _ session: Session) async throws -> [Belonging.Other]
  {
    guard !tables.isEmpty else { return [] }
    let rows = try await session.execute(
      """
      SELECT f.shard, p.last_seq_id AS position, f.relation::bigint AS oid
        FROM tidemark.filled_table AS f
        JOIN \(raw: shape.store).mt_event_progression AS p ON p.name = f.shard
       WHERE f.relation = ANY (\(tables.map(\.oid))::bigint[]::oid[]) AND f.beside = 'tidemark.shard'::regclass
         AND f.shard <> \(shard) AND p.last_seq_id IS NOT NULL
       ORDER BY f.shard
      """
    ).rows
    return try rows.map { row in
      let oid = try row.get("oid", as: Int64.self)
      return Belonging.Other(
        try row.get("shard", as: String.self), at: try row.get("position", as: Int64.self),
        fills: tables.first { $0.oid == oid }?.name)
    }
  }

  /// Other shards with a position above 0 that did the same work, by name.
  ///
  /// - Parameters:
  ///   - works: the fingerprints of the work.
  ///   - declared: the shards that the settings declare, which are not former names.
  package func namesakes(
    of shard: String, works: [String], declared: [String], _ session: Session
  ) async throws -> [Belonging.Other] {
    try await session.execute(
      """
      SELECT s.name, p.last_seq_id AS position
        FROM tidemark.shard AS s JOIN \(raw: shape.store).mt_event_progression AS p ON p.name = s.name
       WHERE s.fingerprint = ANY (\(works)::text[]) AND s.name <> \(shard) AND s.name <> ALL (\(declared)::text[]) AND p.last_seq_id > 0
       ORDER BY p.last_seq_id DESC, s.name
      """
    ).rows.map { row in
      Belonging.Other(try row.get("name", as: String.self), at: try row.get("position", as: Int64.self))
    }
  }

  /// Whether Tidemark itself has run the shard before, if only a program that recorded neither its work nor its tables.
  package func hasRun(_ shard: String, _ session: Session) async throws -> Bool {
    try await session.execute(
      """
      SELECT EXISTS (SELECT FROM tidemark.shard WHERE name = \(shard) AND fingerprint IS NOT NULL)
          OR EXISTS (SELECT FROM tidemark.filled_table WHERE shard = \(shard) AND name = '')
      """
    ).rows[0].get(0, as: Bool.self)
  }

  /// Whether the store has an event of these types at or below a position, above where the shard begins.
  package func hasEvents(
    after first: Int64, upTo position: Int64, types: [String]?, _ session: Session
  ) async throws -> Bool {
    try await session.execute(
      """
      SELECT EXISTS (SELECT FROM \(raw: shape.store).mt_events AS e
                      WHERE e.seq_id > \(first) AND e.seq_id <= \(position)
                        AND (e.type = ANY (\(types)::text[])) IS NOT FALSE AND \(raw: shape.eventPredicate))
      """
    ).rows[0].get(0, as: Bool.self)
  }

  /// Records the tables as those of the shard's position, in place of former ones.
  package func record(_ tables: [Table], of shard: String, _ session: Session) async throws {
    let names = tables.map { ($0.name, $0.qualified) }
    for statement in Self.record(names, of: shard) { try await session.execute(statement) }
  }

  /// The same for a transaction that creates or exchanges the tables.
  ///
  /// - Parameter tables: each as declared, and with its schema, quoted.
  package static func record(_ tables: [(name: String, qualified: String)], of shard: String) -> [SQL] {
    [
      "DELETE FROM tidemark.filled_table WHERE shard = \(shard) AND name <> ALL (\(tables.map(\.name))::text[])",
      """
      INSERT INTO tidemark.filled_table (shard, name, relation, beside)
      SELECT \(shard), t.name, t.qualified::regclass, 'tidemark.shard'::regclass
        FROM unnest(\(tables.map(\.name))::text[], \(tables.map(\.qualified))::text[]) AS t (name, qualified)
      ON CONFLICT (shard, name) DO UPDATE SET relation = excluded.relation, beside = excluded.beside
      """,
    ]
  }

  /// The statements that record which tables a `setup` has made, and how many rows it has put there: these are no events of the past. As
  /// a script, to run after it on the same search path. A role that may not write it down still makes its tables.
  ///
  /// - Parameters:
  ///   - tables: each as declared, and the names in SQL by which it may be found.
  ///   - store: the schema of the event store, quoted.
  package static func rememberSetup(
    of shard: String, _ tables: [(name: String, readings: [String])], store: String
  ) -> String {
    guard !tables.isEmpty else { return "" }
    let found = tables.map { name, readings in
      "(\(SQL.quoted(literal: name)), coalesce(\(readings.map { "to_regclass(\(SQL.quoted(literal: $0)))" }.joined(separator: ", "))))"
    }
    return """
      -- What \(shard) finds in its tables at its start is not made of events.
      DO $tidemark$
      DECLARE
          made record;
          seeds bigint;
      BEGIN
          FOR made IN SELECT t.name, t.relation FROM (VALUES \(found.joined(separator: ", "))) AS t (name, relation) LOOP
              CONTINUE WHEN made.relation IS NULL
                         OR EXISTS (SELECT FROM \(store).mt_event_progression AS p WHERE p.name = \(SQL.quoted(literal: shard)));
              EXECUTE format('SELECT count(*) FROM %s', made.relation) INTO seeds;
              INSERT INTO tidemark.filled_table (shard, name, relation, beside, seeds)
              VALUES (\(SQL.quoted(literal: shard)), made.name, made.relation, 'tidemark.shard'::regclass, seeds)
              ON CONFLICT ON CONSTRAINT filled_table_pkey DO UPDATE
                 SET relation = excluded.relation, beside = excluded.beside, seeds = excluded.seeds;
          END LOOP;
      EXCEPTION WHEN insufficient_privilege THEN
          NULL;
      END
      $tidemark$;

      """
  }

  /// Lets one shard at a time get its first position, to the end of the transaction.
  package static func lockClaims(_ session: isolated Session) async throws {
    try await session.execute("SELECT pg_advisory_xact_lock(\(AdvisoryLocks.claim))")
  }
}
