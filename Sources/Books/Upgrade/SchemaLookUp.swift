import EventStore
import Postgres

/// Which objects of our schema the database has. Asks the catalogs each time, by name, so that it works for a role without privileges too.
struct SchemaLookUp: Sendable {
  private var present: Set<String> = []
  /// Nothing is missing.
  var isComplete = false
  var hasInternalSchema = false
  var hasPageSchema = false
  /// The view `batch` reads another table than the event table: one that was renamed when the event table was recreated.
  var viewIsElsewhere = false
  /// Internal functions of programs before number 5, which had them in the schema `tidemark`; quoted, with their argument types.
  var leftovers: [String] = []
  /// Roles with a grant to use a schema or to read a table; quoted, or PUBLIC.
  private var users: [String: [String]] = [:]

  func isMissing(_ object: SchemaObject) -> Bool { !present.contains(object.name) }

  /// The roles that get a new function of the schema `tidemark`: those that may use it.
  var callers: [String] { users["tidemark"] ?? [] }

  /// The roles that may read the number of the schema.
  var readers: [String] { users["tidemark.installation"] ?? [] }

  /// The roles that may read the view `batch`.
  var viewers: [String] { users["tidemark.batch"] ?? [] }

  /// The names of those among these objects that exist.
  static func presence(of objects: [SchemaObject]) -> SQL {
    """
    SELECT w.name
      FROM unnest(\(objects.map(\.name))::text[], \(objects.map(\.kind.rawValue))::text[], \(objects.map(\.schema))::text[],
                  \(objects.map(\.plainName))::text[], \(objects.map(\.arguments))::text[]) AS w (name, kind, schema, plain, arguments)
      JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
     WHERE CASE WHEN w.kind = 'FUNCTION'
                THEN EXISTS (SELECT FROM pg_catalog.pg_proc AS p
                              WHERE p.pronamespace = n.oid AND p.proname = w.plain AND oidvectortypes(p.proargtypes) = w.arguments)
                ELSE EXISTS (SELECT FROM pg_catalog.pg_class AS c
                              WHERE c.relnamespace = n.oid AND c.relname = w.plain
                                AND c.relkind = CASE WHEN w.kind = 'VIEW' THEN 'v' ELSE 'r' END) END
    """
  }

  static func read(_ session: Session, objects: [SchemaObject], shape: StoreShape) async throws -> SchemaLookUp {
    var found = SchemaLookUp()
    let rows = try await session.execute(presence(of: objects)).rows
    found.present = Set(try rows.map { try $0.get("name", as: String.self) })
    found.isComplete = found.present.count == objects.count
    let schemas = try await session.execute(
      "SELECT n.nspname::text AS name FROM pg_catalog.pg_namespace AS n WHERE n.nspname = ANY (\(SearchPath.ownSchemas)::text[])"
    ).rows.map { try $0.get("name", as: String.self) }
    found.hasInternalSchema = schemas.contains("tidemark_internal")
    found.hasPageSchema = schemas.contains(SearchPath.page)
    if objects.contains(where: { $0.isBatch && !found.isMissing($0) }) {
      found.viewIsElsewhere = try await !PageView.shows(shape, session)
    }
    return found
  }

  /// Adds the roles for new objects, and the functions that no node needs any more.
  mutating func readForChange(_ session: Session) async throws {
    let grants = try await session.execute(
      """
      SELECT g.what, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS role
        FROM (SELECT n.nspname::text AS what, n.nspacl AS acl, n.nspowner AS owner, 'USAGE' AS privilege
                FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'tidemark'
               UNION ALL
              SELECT format('%s.%s', n.nspname, c.relname), c.relacl, c.relowner, 'SELECT'
                FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
               WHERE n.nspname = 'tidemark' AND c.relname IN ('installation', 'batch')) AS g,
             aclexplode(g.acl) AS a
       WHERE a.privilege_type = g.privilege AND a.grantee <> g.owner
       ORDER BY 1, 2
      """
    ).rows
    for row in grants {
      users[try row.get("what", as: String.self), default: []].append(try row.get("role", as: String.self))
    }
    let isNeeded =
      present.contains("tidemark.node")
      ? try await session.execute(
        """
        SELECT EXISTS (
            SELECT FROM tidemark.node AS n
              JOIN pg_catalog.pg_locks AS l ON (l.classid::bigint << 32 | l.objid::bigint) = n.lock_key
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
               AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
               -- The column is as new as the number.
               AND to_jsonb(n) ->> 'schema_number' IS NULL)
        """
      ).rows[0].get(0, as: Bool.self) : false
    guard !isNeeded else { return }
    leftovers = try await session.execute(
      """
      SELECT format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)) AS function
        FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
       WHERE n.nspname = 'tidemark' AND p.proname = ANY (\(Self.former)::text[])
       ORDER BY 1
      """
    ).rows.map { try $0.get("function", as: String.self) }
  }

  /// Internal functions that numbers before the fifth had in the schema `tidemark`.
  private static let former = [
    "begin_page", "begin_rebuild_page", "compare_rows", "copy_grants", "copy_rows", "cut_page", "cut_rebuild_page",
    "has_lost_shadows", "has_unlogged_shadow", "is_alive", "isolate", "known_streams", "known_tenants",
    "lock_out_readers", "make_shadow", "numbered_columns", "park", "passed_over", "refuse_strays", "remove_rows",
    "row_parts", "same_page", "show_page", "snapshots", "stray_relations", "swap_table", "take_over_letters",
    "write_rows",
  ]
}
