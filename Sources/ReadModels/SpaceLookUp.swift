import Glibc
package import Postgres
package import Rules

/// What new tables need on the server's disk and what is free there, as far as it can be known.
///
/// PostgreSQL tells nobody what is free. A session over a Unix socket leads to a server on this machine, where the system tells: unless the
/// directory is one that this process does not see, as in a container of its own.
extension OriginalTables {
  package func space(_ session: isolated Session) async throws -> SpaceNeed {
    let rows = try await session.execute(
      """
      SELECT CASE WHEN t.oid = d.dattablespace THEN 'the disk of the database' ELSE format('tablespace %I', t.spcname) END AS name,
             sum(pg_total_relation_size(p.relid))::bigint AS needed,
             CASE WHEN inet_server_addr() IS NULL THEN
                 coalesce(nullif(pg_tablespace_location(t.oid), ''),
                          CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END) END AS directory
        FROM pg_catalog.pg_database AS d, unnest(\(oids)::bigint[]::oid[]) AS o (oid), LATERAL (
               SELECT o.oid AS relid WHERE NOT EXISTS (SELECT FROM pg_partition_tree(o.oid))
               UNION SELECT x.relid FROM pg_partition_tree(o.oid) AS x) AS p
        JOIN pg_catalog.pg_class AS c ON c.oid = p.relid
        JOIN pg_catalog.pg_tablespace AS t ON true
       WHERE d.datname = current_database() AND t.oid = coalesce(nullif(c.reltablespace, 0), d.dattablespace)
       GROUP BY t.oid, t.spcname, d.dattablespace
      """
    ).rows
    return SpaceNeed(
      try rows.map {
        SpaceNeed.Place(
          name: try $0.get("name", as: String.self), needed: try $0.get("needed", as: Int64.self),
          free: try $0.get("directory", as: String?.self).flatMap(Self.free))
      })
  }

  /// What is free in a directory of the server's, for those without special rights.
  private static func free(in directory: String) -> Int64? {
    var status = statvfs()
    guard statvfs(directory, &status) == 0 else { return nil }
    return Int64(
      clamping: UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize)).partialValue)
  }
}
