import CLibpq

/// Where to connect, and as which user: everything that libpq understands, in libpq's notation.
///
/// An empty connection string is libpq's environment (`PGHOST`, `PGSERVICE`, `PGPASSFILE`…) and defaults. The password
/// is never part of a description or an error.
package struct ConnectionOptions: Sendable {
  /// A URI, or `key=value` pairs, as in "Connection Strings" of PostgreSQL's manual.
  package var conninfo: String
  /// Overrides a password in `conninfo`. Asked for each connection, so a password that was rotated is found.
  package var password: @Sendable () -> String?
  /// The `application_name` in `pg_stat_activity`, unless `conninfo` sets one.
  package var applicationName: String
  /// The longest wait for a connection to one host, unless `conninfo` sets `connect_timeout`.
  package var connectTimeout: Duration
  /// Whether a session begins with ``SearchPath/ours``.
  package var pins = Pinning.always
  /// Replaces what variables of the settings stand for, in every text for a person.
  package var conceal: @Sendable (String) -> String = { $0 }

  package enum Pinning: Sendable {
    case always
    /// Unless a pooler stands between, whose next session might get ours: see `PoolerCheck`.
    case ifDirect
    /// Names mean what they mean for the role: for sessions that run the statements of others.
    case never
  }

  package init(
    conninfo: String, password: @escaping @Sendable () -> String? = { nil }, applicationName: String = "tidemark",
    connectTimeout: Duration = .seconds(10), pins: Pinning = .always
  ) {
    self.conninfo = conninfo
    self.password = password
    self.applicationName = applicationName
    self.connectTimeout = connectTimeout
    self.pins = pins
  }

  /// The parts that identify the database to a person: `host=… port=… dbname=… user=…`, defaults included.
  package var redacted: String {
    guard let given = try? parsed() else { return "an unreadable connection string" }
    let defaults = Self.read(PQconndefaults())
    let shown = ["service", "host", "hostaddr", "port", "dbname", "user"].compactMap { key -> String? in
      guard let value = given[key] ?? (given["service"] == nil ? defaults[key] : nil), !value.isEmpty else {
        return nil
      }
      return "\(key)=\(value)"
    }
    return conceal(shown.joined(separator: " "))
  }

  /// The keys that `conninfo` sets, with their values.
  ///
  /// - Throws: a usage error if libpq cannot parse it. libpq's own message is not passed on, since it quotes the string
  ///   with its password.
  package func parsed() throws(PostgresError) -> [String: String] {
    // A string that is neither a URI nor pairs is the name of a database.
    guard conninfo.contains("=") || conninfo.hasPrefix("postgres://") || conninfo.hasPrefix("postgresql://") else {
      return conninfo.isEmpty ? [:] : ["dbname": conninfo]
    }
    var message: UnsafeMutablePointer<CChar>?
    guard let options = PQconninfoParse(conninfo, &message) else {
      PQfreemem(message)
      throw PostgresError(
        .usage(
          "cannot parse the connection string (not shown, as it may contain a password): expected a URI or key=value pairs"
        ))
    }
    return Self.read(options)
  }

  /// Keys and values for `PQconnectStartParams`; later ones override earlier ones.
  func parameters(_ attempt: Attempt) -> [(String, String)] {
    var pairs = [("fallback_application_name", applicationName), ("dbname", conninfo), ("client_encoding", "UTF8")]
    if let password = password() { pairs.append(("password", password)) }
    return pairs + attempt.overrides.map { ($0.key, $0.value) }
  }

  /// Copies libpq's array of options into a dictionary, and frees the array.
  static func read(_ options: UnsafeMutablePointer<PQconninfoOption>?) -> [String: String] {
    guard let options else { return [:] }
    defer { PQconninfoFree(options) }
    var result: [String: String] = [:]
    var option = options
    while let keyword = option.pointee.keyword {
      if let value = option.pointee.val { result[String(cString: keyword)] = String(cString: value) }
      option += 1
    }
    return result
  }
}
