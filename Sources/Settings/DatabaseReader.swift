import Rules

/// Reads the databases to follow and their passwords.
extension SettingsReader {
  /// Reads `[database]` alone, or several `[databases.NAME]` that share the keys of `[database]`.
  mutating func readDatabases(_ entries: [TOMLEntry], file: String) {
    let common = entries.first { $0.key == "database" }
    let commonURL = common?.value.entries.first { $0.key == "url" }
    guard let several = entries.first(where: { $0.key == "databases" }) else {
      if commonURL == nil { addMissingURL("database", common?.place, file) }
      var database = settings.database
      password(of: &database, "database", common, file)
      database.concealment = written.concealment(under: "database.")
      settings.database = database
      return
    }
    let expected = "tables [databases.NAME]"
    guard let tables = table(several.value, "databases", file, expected: expected) else { return }
    guard !tables.isEmpty else {
      add(
        .value, location(several.value.place, file), "databases", "expected \(expected), found \(found(several.value))")
      return
    }
    if let commonURL {
      add(
        .conflict, location(commonURL.place, file), "database.url",
        "cannot be combined with [databases.NAME], which each have a url")
    }
    for table in tables { readDatabase(table, file: file) }
  }

  private mutating func readDatabase(_ table: TOMLEntry, file: String) {
    let path = "databases.\(table.key)"
    guard let entries = self.table(table.value, path, file) else { return }
    if let message = ProjectionCheck.problem(withName: table.key) {
      add(.value, location(table.place, file), path, message)
    }
    var database = settings.database
    database.name = table.key
    read(entries, keys: DatabaseSettings.keys, prefix: "", display: "\(path).", file: file, into: &database)
    if !entries.contains(where: { $0.key == "url" }) { addMissingURL(path, table.place, file) }
    password(of: &database, path, table, file)
    database.concealment = written.concealment(under: "database.", "\(path).")
    if let url = database.givenURL, let other = settings.namedDatabases.first(where: { $0.givenURL == url }) {
      add(
        .conflict, location(entries.first { $0.key == "url" }?.value.place, file), "\(path).url",
        "the same as that of databases.\(other.name ?? ""); each shard would run twice")
    }
    settings.namedDatabases.append(database)
  }

  private mutating func addMissingURL(_ path: String, _ place: TOMLPlace?, _ file: String) {
    add(
      .missingKey, SourceLocation(file: file, line: place?.line ?? 1), "\(path).url",
      "expected a libpq connection string, found nothing",
      hint: "for example url = \"postgresql:///shop?host=/run/postgresql\"")
  }

  /// Reads `password_file`.
  private mutating func password(
    of database: inout DatabaseSettings, _ path: String, _ table: TOMLEntry?, _ file: String
  ) {
    guard let name = database.passwordFile else { return }
    let key = "\(path).password_file"
    let place = table?.value.entries.first { $0.key == "password_file" }?.value.place
    var target = Self.resolve(name, besides: file)
    var credential: String?
    if !name.contains("/"), let directory = environment["CREDENTIALS_DIRECTORY"] {
      credential = "\(directory)/\(name)"
      if case .success = files.read(credential!) { target = credential! }
    }
    switch files.read(target) {
    case .success(let bytes):
      database.passwordPath = target
      named.append(NamedFile(target, .password, holdsPassword: true))
      database.password = Secret(passwordFile: bytes)
      if database.password == nil { add(.value, location(place, file), key, "\(target) is empty") }
    case .failure(let problem):
      add(
        .unreadable, location(place, file), key, "\(target) cannot be read: \(problem.message)",
        hint: credential.map { "there is no \($0) either" })
    }
  }
}

extension DatabaseSettings {
  /// The password as its file has it now: a file that was rewritten needs no reload. The last known one where the file cannot be read or
  /// is empty, as it may be for a moment while it is written.
  package func readPassword(_ files: SettingsFiles = .system) -> String? {
    if let passwordPath, case .success(let bytes) = files.read(passwordPath), let new = Secret(passwordFile: bytes) {
      return new.value
    }
    return password?.value
  }
}

extension Secret {
  /// The content of a password file, without the line break at its end; nil where nothing is left.
  fileprivate init?(passwordFile bytes: [UInt8]) {
    var text = Substring(decoding: bytes, as: UTF8.self)
    if text.last?.isNewline == true { text.removeLast() }
    guard !text.isEmpty else { return nil }
    self.init(String(text))
  }
}
