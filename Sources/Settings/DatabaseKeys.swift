extension DatabaseSettings {
  /// The keys of `[database]`, and of each `[databases.NAME]`.
  static let keys: [Key<DatabaseSettings>] = [
    connectionString(
      "url",
      """
      The database with the event store and the read models. Everything libpq understands is allowed, as are its environment
      variables (PGHOST, PGSERVICE, PGPASSFILE…), from which an empty string takes everything.
      """, put: { $0.url = $1 }, get: { $0.givenURL }),
    connectionString(
      "lock_url",
      """
      Where url goes through a pooler in session mode: a direct connection to the same database, for the session whose locks say
      that this node lives and what it leads, so that the server, and not the pooler, sees it go. A pooler in transaction mode is
      refused for both: what it hands out is no session.
      """, example: "\"postgresql://db.example/shop\"", put: { $0.lockURL = $1.isEmpty ? nil : $1 }, get: { $0.lockURL }
    ),
    .optionalString(
      "password_file", \.passwordFile, "the path of a file", example: "database-password",
      """
      A file that holds the password and nothing else; a line break at its end is cut off. A name without a slash is looked for
      among the credentials that systemd passes on (LoadCredential=), then beside the settings file.
      """),
    .integer(
      "pool_size", \.poolSize, 1...200,
      """
      Most sessions that all shards together use at once. Four more follow the event sequence, keep the books, look for operators'
      wishes, and hold the locks by which the node is known; a rebuild has its own beside them.
      """
    ),
    .memory(
      "work_mem", \.workMemory,
      "PostgreSQL's work_mem for the statements of projections: what one sort or hash of a page may take before it spills to disk."
    ),
    .duration(
      "connect_timeout", \.connectTimeout, .seconds(1)...(.seconds(600)),
      "Longest to wait for a connection, where the url does not say connect_timeout."),
    .string(
      "application_name", \.applicationName, "a name",
      "What pg_stat_activity shows, where the url does not say application_name."),
  ]

  /// A key whose value may hold a password.
  private static func connectionString(
    _ path: String, _ meaning: String, example: String? = nil,
    put: @escaping @Sendable (inout DatabaseSettings, String) -> Void,
    get: @escaping @Sendable (DatabaseSettings) -> String?
  ) -> Key<DatabaseSettings> {
    Key(
      path: path, form: "a libpq connection string: a URI or key=value pairs", meaning: meaning, example: example,
      isSecret: true,
      decode: { toml, root throws(Mismatch) in
        guard case .string(let text) = toml.content else { throw Mismatch() }
        put(&root, text)
      },
      show: { get($0).map { TOMLText.string(redacted(connectionString: $0)) } })
  }
}

extension Key<DatabaseSettings> {
  /// The same key in `[database]` of the whole.
  var inSettings: Key<Settings> {
    Key<Settings>(
      path: "database.\(path)", form: form, meaning: meaning, example: example, isSecret: isSecret,
      decode: { toml, root throws(Mismatch) in try decode(toml, &root.database) }, show: { show($0.database) })
  }
}
