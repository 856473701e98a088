extension DatabaseSettings {
  /// The keys of `[database]`, and of each `[databases.NAME]`.
  static let keys: [Key<DatabaseSettings>] = [
    connectionString(
      "url",
      """
      The database with the event store and the read models. It takes everything that libpq understands. libpq's environment
      variables (PGHOST, PGSERVICE, PGPASSFILE…) apply too; with an empty string they supply everything.
      """, put: { $0.url = $1 }, get: { $0.givenURL }),
    connectionString(
      "lock_url",
      """
      If url goes through a pooler in session mode: a direct connection to the same database for the session that holds this
      node's locks, which show that the node is alive and which shards it leads. The server itself, and not the pooler, then
      notices when the node goes. For both keys the daemon refuses a pooler in transaction mode, which does not provide a session.
      """, example: "\"postgresql://db.example/shop\"", put: { $0.lockURL = $1.isEmpty ? nil : $1 }, get: { $0.lockURL }
    ),
    .optionalString(
      "password_file", \.passwordFile, "the path of a file", example: "database-password",
      """
      A file that holds only the password; a line break at its end is ignored. The daemon reads it for each connection, so a
      rotated password needs no reload. A name without a slash is looked up among the credentials that systemd passes to the
      service (LoadCredential=), then in the directory of the settings file; systemd copies a credential when the service
      starts, so a rotated one needs a restart.
      """),
    .integer(
      "pool_size", \.poolSize, 1...200,
      """
      The most sessions that all shards together use at once. Four more sessions follow the event sequence, write Tidemark's
      own tables, read operators' requests, and hold the node's locks. A rebuild adds its own.
      """
    ),
    .memory(
      "work_mem", \.workMemory,
      "PostgreSQL's work_mem for the statements of projections: the memory for one sort or hash of a page before it spills to disk."
    ),
    .duration(
      "connect_timeout", \.connectTimeout, .seconds(1)...(.seconds(600)),
      "The longest wait for a connection to one host, unless the url sets connect_timeout."),
    .string(
      "application_name", \.applicationName, "a name",
      "The application_name in pg_stat_activity, unless the url sets one."),
  ]

  /// A key whose value may contain a password.
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
        if let mismatch = ConnectionStringCheck.mismatch(text) { throw mismatch }
        put(&root, text)
      },
      show: { get($0).map { TOMLText.string(redacted(connectionString: $0)) } })
  }
}

extension Key<DatabaseSettings> {
  /// The same key as part of `[database]` in the whole settings.
  var inSettings: Key<Settings> {
    Key<Settings>(
      path: "database.\(path)", form: form, meaning: meaning, example: example, isSecret: isSecret,
      decode: { toml, root throws(Mismatch) in try decode(toml, &root.database) }, show: { show($0.database) })
  }
}
