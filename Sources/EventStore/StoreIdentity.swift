package import Postgres

/// Tells whether the event table, its sequence and the view that pages read are still the ones that were looked up.
///
/// A token of what the catalogs hold for them: identifiers, and the transactions that last changed their rows. Nearly every `ALTER` of the
/// table or the sequence, a rename, `DROP`, `CREATE`, a trigger, a partition or another default changes it; `ANALYZE` and `VACUUM` do not.
/// A token that changed proves nothing but that everything has to be looked up again.
package struct StoreIdentity: Sendable, Hashable {
  package var token: String

  /// Reads the catalogs as they are now. Cheap: lookups by key.
  package static func statement(schema: String) -> SQL {
    let table = SQL.quoted(schema) + ".mt_events"
    let sequence = SQL.quoted(schema) + "." + StoreShape.sequenceName
    return """
      SELECT concat_ws(' ', k.events, k.sequence, k.batch, coalesce(k.page::text, 'no page'),
               (SELECT string_agg(concat(c.oid, ':', c.xmin), ' ' ORDER BY c.oid) FROM pg_catalog.pg_class AS c
                 WHERE c.oid IN (k.events, k.sequence, k.batch)),
               (SELECT concat('s', s.xmin) FROM pg_catalog.pg_sequence AS s WHERE s.seqrelid = k.sequence),
               (SELECT string_agg(concat('r', r.oid, ':', r.xmin), ' ' ORDER BY r.oid) FROM pg_catalog.pg_rewrite AS r
                 WHERE r.ev_class IN (k.events, k.batch)),
               (SELECT concat('d', count(*), ':', max(d.oid::bigint)) FROM pg_catalog.pg_attrdef AS d WHERE d.adrelid = k.events),
               (SELECT string_agg(concat('t', g.oid, ':', g.xmin), ' ' ORDER BY g.oid) FROM pg_catalog.pg_trigger AS g
                 WHERE g.tgrelid = k.events AND NOT g.tgisinternal),
               (SELECT concat('p', count(*), ':', max(i.inhrelid::bigint)) FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = k.events),
               (SELECT concat('u', count(*)) FROM pg_catalog.pg_subscription_rel AS u WHERE u.srrelid = k.events)) AS token
        FROM (SELECT to_regclass(\(table))::oid AS events, to_regclass(\(sequence))::oid AS sequence,
                     (SELECT v.oid FROM pg_catalog.pg_class AS v JOIN pg_catalog.pg_namespace AS n ON n.oid = v.relnamespace
                       WHERE n.nspname = 'tidemark' AND v.relname = 'batch') AS batch,
                     (SELECT v.oid FROM pg_catalog.pg_class AS v JOIN pg_catalog.pg_namespace AS n ON n.oid = v.relnamespace
                       WHERE n.nspname = \(SearchPath.page) AND v.relname = 'batch') AS page) AS k
      """
  }

  package static func read(_ session: Session, schema: String) async throws -> StoreIdentity {
    try decode(try await session.execute(statement(schema: schema)))
  }

  static func decode(_ result: ResultSet) throws -> StoreIdentity {
    StoreIdentity(token: try result.rows[0].get("token", as: String.self))
  }
}
