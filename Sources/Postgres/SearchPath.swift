import CLibpq

/// What a name without a schema means, in every session of ours.
///
/// PostgreSQL looks such a name up along `search_path`: tables, but also functions, operators and types, and of two functions the one whose
/// arguments fit better, wherever it is. So a role that may create in any schema of the path could have its function run by a statement of
/// ours, as the daemon, or as a superuser who runs `tidemark status`. And a table of ours could stand where an operator means another. So:
///
/// 1. Every session that ``ConnectionOptions`` opens for the program begins by setting its path to ``ours``, `pg_catalog, pg_temp`, before
///    any other statement, in one round trip that names everything with its schema. Our functions, and the script of `init --dry-run`, set
///    the same path for themselves.
/// 2. The path that role, database or connection string had set until then is the operator's. ``SearchPath`` keeps it, without our own
///    schemas, which `"$user"` leads to where the role is called `tidemark`: no name of the operator's ever means a table of ours.
/// 3. The operator's path is set around the operator's statements alone, inside their transaction: those of a page (`PagePath`), of
///    `setup`, and of `check`. It costs no round trip: it travels with statements that are sent anyway, and ends with the transaction.
///    Where statements of ours follow in the same transaction, ours is set again before them, and theirs before COMMIT, at which deferred
///    triggers run.
/// 4. `batch` comes from the schema `tidemark_page`, which holds nothing else, and which pages search before all others: nobody can put
///    another `batch` before it, whatever schemas the operator has. Each page proves it.
/// 5. `setup` makes tables where every role finds them: in the first schema of the path that is not the role's own. Statements find them
///    in the role's own schema too, if the role, or a role that it must trust anyway, owns it.
/// 6. Names of declared tables are looked up in the catalogs along the operator's path, without setting it (`DeclaredTable`).
/// 7. Who else may create in these schemas is a warning of `check` and of the start (`PathTrust`), and what others own in ours is refused.
///
/// A pooler in transaction mode would keep our path for sessions of others, so nothing is set through a pooler that has not been examined.
package struct SearchPath: Sendable, Hashable {
  /// Of our own statements. Temporary objects last: otherwise they come first.
  package static let ours = "pg_catalog, pg_temp"

  /// The schema that holds the view `batch` for the operator's statements, and nothing else.
  package static let page = "tidemark_page"

  /// The schemas of our own objects.
  package static let ownSchemas = ["tidemark", "tidemark_internal", page]

  /// The operator's schemas, in the order in which names are looked up; not all of them need exist.
  package let schemas: [String]
  /// The same with the role's own schema last, so that objects are made where other roles find them.
  package let homes: [String]

  /// - Parameters:
  ///   - setting: the value of `search_path`, as PostgreSQL shows it.
  ///   - role: what `"$user"` stands for.
  ///   - ownSchema: whether the role may trust the owner of the schema that has its name.
  package init(setting: String, role: String, ownSchema: Bool) {
    let named = Self.identifiers(setting, separator: ",").filter { !Self.ownSchemas.contains($0) }
    let own: [String] = ownSchema && !Self.ownSchemas.contains(role) ? [role] : []
    let others = named.filter { $0 != "$user" }
    schemas = named.flatMap { (name: String) -> [String] in name == "$user" ? own : [name] }
    homes = others.count < named.count ? others + own : others
  }

  package init(schemas: [String]) {
    self.schemas = schemas
    homes = schemas
  }

  /// The value of `search_path` for these schemas.
  package static func text(_ schemas: [String]) -> String {
    schemas.map { SQL.quoted($0) }.joined(separator: ", ")
  }

  /// Sets the path until the transaction ends.
  package static func set(_ text: String) -> SQL { "SELECT pg_catalog.set_config('search_path', \(text), true)" }

  /// Sets ``ours`` for the session, unless a transaction has set another.
  package static let pin = "SET search_path = \(ours)"

  /// The names in a list, as PostgreSQL reads them: in lower case unless quoted.
  package static func identifiers(_ text: String, separator: Character) -> [String] {
    var names: [String] = []
    var rest = Substring(text)
    while true {
      rest = rest.drop(while: \.isWhitespace)
      var name = ""
      if rest.first == "\"" {
        rest.removeFirst()
        while let next = rest.popFirst() {
          if next != "\"" {
            name.append(next)
          } else if rest.first == "\"" {
            name.append(rest.removeFirst())
          } else {
            break
          }
        }
        rest = rest.drop { $0 != separator }
      } else {
        let bare = rest.prefix { $0 != separator }
        rest = rest.dropFirst(bare.count)
        name = String(bare).folded
      }
      if !name.isEmpty { names.append(name) }
      guard !rest.isEmpty else { return names }
      rest.removeFirst()
    }
  }
}

extension String {
  /// In lower case as PostgreSQL folds names, without white space at the end.
  fileprivate var folded: String {
    let bytes = utf8.map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 }
    let text = String(decoding: bytes, as: UTF8.self)
    guard let last = text.lastIndex(where: { !$0.isWhitespace }) else { return "" }
    return String(text[...last])
  }
}

extension Connection {
  /// What the session begins with: its path until now, and ``SearchPath/ours`` from now on.
  struct Beginning: Sendable {
    var operatorPath: SearchPath
    /// No pooler stands between: the process that libpq was told is the one that answers.
    var isDirect: Bool
  }

  /// One round trip, in which nothing is looked up along the path that it finds.
  ///
  /// - Parameter pins: whether to set ``SearchPath/ours``; `.ifDirect` leaves the session of a pooler alone.
  func begin(_ pins: ConnectionOptions.Pinning, _ operation: Operation) throws(PostgresError) -> Beginning {
    let process = PQbackendPID(pointer)
    let condition =
      switch pins {
      case .always: "true"
      case .ifDirect: "pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) \(process)"
      case .never: "false"
      }
    let pinned = ServerSettings.pinned.map { "pg_catalog.set_config('\($0.name)', '\($0.value)', false)" }
      .joined(separator: ", ")
    try send(
      script: """
        SELECT pg_catalog.current_setting('search_path'), pg_catalog.pg_backend_pid(),
               CASE WHEN \(condition) THEN pg_catalog.set_config('search_path', '\(SearchPath.ours)', false) END,
               CURRENT_USER,
               EXISTS (SELECT FROM pg_catalog.pg_namespace AS n, pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d
                        WHERE n.nspname OPERATOR(pg_catalog.=) CURRENT_USER AND r.rolname OPERATOR(pg_catalog.=) CURRENT_USER
                          AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
                          AND (pg_catalog.pg_has_role(n.nspowner, r.oid, 'MEMBER')
                               OR pg_catalog.pg_has_role(n.nspowner, d.datdba, 'MEMBER'))),
               -- A client that is cut off from here on leaves no session behind for hours: the server asks for signs of life.
               CASE WHEN \(condition)
                    THEN pg_catalog.concat(\(pinned), \(ServerSettings.allowsViews)) END
        """)
    let row = try results(operation)[0].rows[0]
    serverProcess = row.text(1).flatMap { Int32($0) } ?? process
    return Beginning(
      operatorPath: SearchPath(
        setting: row.text(0) ?? "", role: row.text(3) ?? "", ownSchema: row.text(4) == "t"),
      isDirect: row.text(1) == "\(process)")
  }
}
