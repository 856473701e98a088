import Rules

/// Reads the databases to follow and their passwords.
extension SettingsReader {
  /// Reads `[database]` alone, or several `[databases.NAME]` that share the keys of `[database]`.
  mutating func readDatabases(_ entries: [TOMLEntry], file: String) {
    let common = entries.first { $0.key == "database" }
    let commonURL = common?.value.entries.first { $0.key == "url" }
    guard let several = entries.first(where: { $0.key == "databases" }) else {
      if commonURL == nil { addMissingURL("database", common?.place, file) }
      settings.database.password = password(of: settings.database, "database", common, file)
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
    database.password = password(of: database, path, table, file)
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
    of database: DatabaseSettings, _ path: String, _ table: TOMLEntry?, _ file: String
  ) -> Secret? {
    guard let name = database.passwordFile else { return nil }
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
      var text = Substring(decoding: bytes, as: UTF8.self)
      if text.last?.isNewline == true { text.removeLast() }
      guard !text.isEmpty else {
        add(.value, location(place, file), key, "\(target) is empty")
        return nil
      }
      return Secret(String(text))
    case .failure(let problem):
      add(
        .unreadable, location(place, file), key, "\(target) cannot be read: \(problem.message)",
        hint: credential.map { "there is no \($0) either" })
      return nil
    }
  }
}
