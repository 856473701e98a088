package import EventStore
package import Postgres

/// The view `tidemark.batch`, which pages read.
package enum PageView {
  /// Whether the view exists and shows the event table that the shape describes. A table that was renamed or dropped leaves the view on the
  /// old one, or takes it along.
  ///
  /// Looks the view up by its names in the catalogs, so a role without privileges on the schema may ask too.
  package static func shows(_ shape: StoreShape, _ session: Session) async throws -> Bool {
    try await session.execute(
      """
      SELECT EXISTS (
               SELECT FROM pg_catalog.pg_namespace AS n
                 JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
                 JOIN pg_catalog.pg_rewrite AS r ON r.ev_class = c.oid
                 JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
                WHERE n.nspname = 'tidemark' AND c.relname = 'batch'
                  AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = \(shape.eventsOID)::oid)
      """
    ).rows[0].get(0, as: Bool.self)
  }

  /// The same, and whether statements of projections find it by the name `batch`.
  package static func isFound(_ shape: StoreShape, _ session: Session) async throws -> Bool {
    let isNamed = try await session.execute(
      """
      SELECT EXISTS (
               SELECT FROM pg_catalog.pg_namespace AS n
                 JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
                WHERE n.nspname = \(SearchPath.page) AND c.relname = 'batch' AND c.relkind = 'v')
      """
    ).rows[0].get(0, as: Bool.self)
    return isNamed ? try await shows(shape, session) : false
  }
}
