import Projection

extension Settings {
  /// Reads the settings file, and `projections.d/*.toml` beside it.
  ///
  /// - Throws: every problem of all files at once.
  package static func load(
    path: String, environment: [String: String], files: SettingsFiles = .system
  ) throws(SettingsProblems) -> Settings {
    var reader = SettingsReader(environment: environment, files: files)
    reader.readMain(path)
    return try reader.finish()
  }

  /// The same from a text that is not in a file yet.
  ///
  /// - Parameter file: what the text is called in problems, and whose directory relative paths start from.
  package static func parse(
    _ text: String, file: String = "tidemark.toml", environment: [String: String] = [:], files: SettingsFiles = .system
  ) throws(SettingsProblems) -> Settings {
    var reader = SettingsReader(environment: environment, files: files)
    reader.readMain(text: text, file: file)
    return try reader.finish()
  }
}

/// Collects settings and problems file by file.
struct SettingsReader {
  let environment: [String: String]
  let files: SettingsFiles
  private var settings = Settings()
  private var problems: [Problem] = []

  init(environment: [String: String], files: SettingsFiles) {
    self.environment = environment
    self.files = files
  }

  mutating func finish() throws(SettingsProblems) -> Settings {
    guard problems.isEmpty else { throw SettingsProblems(problems: problems) }
    return settings
  }

  // MARK: Files

  mutating func readMain(_ path: String) {
    guard let text = text(of: path, hint: "Name another with --config, or in TIDEMARK_CONFIG.") else { return }
    readMain(text: text, file: path)
  }

  mutating func readMain(text: String, file: String) {
    guard let entries = tree(of: text, file: file) else { return }
    var main = settings
    read(
      entries, keys: Settings.keys, prefix: "", others: ["databases", "projections", "on_error"], file: file,
      into: &main)
    settings = main
    readRules(entries, file: file)
    readDatabases(entries, file: file)
    readProjections(entries, file: file)
    readProjectionFiles(besides: file)
    checkRules(entries, file: file)
    checkPolling(entries, file: file)
  }

  private mutating func readProjectionFiles(besides main: String) {
    let directory = Self.resolve("projections.d", besides: main)
    switch files.list(directory) {
    case .success(let names):
      for name in (names ?? []).sorted() where name.hasSuffix(".toml") && !name.hasPrefix(".") {
        let file = "\(directory)/\(name)"
        guard let text = text(of: file, hint: nil), let entries = tree(of: text, file: file) else { continue }
        var nothing: Void = ()
        read(entries, keys: [Key<Void>](), prefix: "", others: ["projections"], file: file, into: &nothing)
        readProjections(entries, file: file)
      }
    case .failure(let problem):
      add(.unreadable, SourceLocation(file: directory, line: 0), "", "cannot be read: \(problem.message)")
    }
  }

  private mutating func text(of path: String, hint: String?) -> String? {
    let location = SourceLocation(file: path, line: 0)
    switch files.read(path) {
    case .success(let bytes):
      guard let text = String(validating: bytes, as: UTF8.self) else {
        add(.syntax, location, "", "expected UTF-8 text, found other bytes")
        return nil
      }
      return text
    case .failure(let problem):
      add(.unreadable, location, "", "cannot be read: \(problem.message)", hint: hint)
      return nil
    }
  }

  private mutating func tree(of text: String, file: String) -> [TOMLEntry]? {
    do {
      return try TOML.parse(text).map { filled($0, path: $0.key, file: file) }
    } catch {
      add(.syntax, location(error.place, file), "", "this is not TOML: \(error.message)")
      return nil
    }
  }

  /// A path of the operator's, absolute or relative to the directory of the file that names it.
  static func resolve(_ path: String, besides file: String) -> String {
    guard !path.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return path }
    return file[...slash] + path
  }

  // MARK: Keys

  private mutating func read<Root>(
    _ entries: [TOMLEntry], keys: [Key<Root>], prefix: String, others: [String] = [], display: String = "",
    file: String,
    into root: inout Root
  ) {
    for entry in entries {
      let path = prefix + entry.key
      if let key = keys.first(where: { $0.path == path }) {
        decode(entry.value, key, display + path, file, &root)
      } else if keys.contains(where: { $0.path.hasPrefix(path + ".") }) {
        guard case .table(let inner) = entry.value.content else {
          add(
            .value, location(entry.value.place, file), display + path, "expected a table, found \(found(entry.value))")
          continue
        }
        read(inner, keys: keys, prefix: path + ".", display: display, file: file, into: &root)
      } else if !others.contains(path) {
        addUnknown(entry, path, among: keys.map(\.path) + others, prefix: prefix, display, file)
      }
    }
  }

  private mutating func decode<Root>(
    _ value: TOMLValue, _ key: Key<Root>, _ path: String, _ file: String, _ root: inout Root
  ) {
    if case .unusable = value.content { return }
    do {
      try key.decode(value, &root)
    } catch {
      add(
        .value, location(value.place, file), path,
        "expected \(error.expected ?? key.form), found \(error.found ?? (key.isSecret ? kind(value) : found(value)))",
        hint: error.hint)
    }
  }

  private mutating func addUnknown(
    _ entry: TOMLEntry, _ path: String, among paths: [String], prefix: String, _ display: String, _ file: String
  ) {
    let siblings = Set(
      paths.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count).prefix { $0 != "." }) }
    ).sorted()
    var hint = nearestName(to: entry.key, in: siblings).map { "did you mean \"\($0)\"?" }
    if hint == nil, let elsewhere = paths.first(where: { $0.hasSuffix("." + entry.key) }) {
      hint = "there is a key \(display)\(elsewhere)"
    }
    let known = siblings.isEmpty ? "no key" : "one of " + siblings.joined(separator: ", ")
    add(.unknownKey, location(entry.place, file), display + path, "unknown key", hint: hint ?? "known here: \(known)")
  }

  // MARK: Databases

  /// `[database]`, or several `[databases.NAME]` with what `[database]` says in common.
  private mutating func readDatabases(_ entries: [TOMLEntry], file: String) {
    let common = entries.first { $0.key == "database" }
    let commonURL = common?.value.entries.first { $0.key == "url" }
    guard let several = entries.first(where: { $0.key == "databases" }) else {
      if commonURL == nil { addMissingURL("database", common?.place, file) }
      settings.database.password = password(of: settings.database, "database", common, file)
      return
    }
    guard case .table(let tables) = several.value.content, !tables.isEmpty else {
      add(
        .value, location(several.value.place, file), "databases",
        "expected tables [databases.NAME], found \(found(several.value))")
      return
    }
    if let commonURL {
      add(
        .conflict, location(commonURL.place, file), "database.url",
        "does not go with [databases.NAME], which have a url each")
    }
    for table in tables { readDatabase(table, file: file) }
  }

  private mutating func readDatabase(_ table: TOMLEntry, file: String) {
    let path = "databases.\(table.key)"
    guard case .table(let entries) = table.value.content else {
      add(.value, location(table.value.place, file), path, "expected a table, found \(found(table.value))")
      return
    }
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

  /// What `password_file` holds.
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
        hint: credential.map { "neither is there \($0)" })
      return nil
    }
  }

  // MARK: What is done about failures

  private mutating func readRules(_ entries: [TOMLEntry], file: String) {
    guard let rules = entries.first(where: { $0.key == "on_error" }) else { return }
    guard case .array(let values) = rules.value.content else {
      add(
        .value, location(rules.value.place, file), "on_error",
        "expected tables [[on_error]], found \(found(rules.value))")
      return
    }
    for value in values {
      guard case .table(let table) = value.content else {
        add(.value, location(value.place, file), "on_error", "expected a table [[on_error]], found \(found(value))")
        continue
      }
      var draft = FailureRuleDraft()
      let before = problems.count
      read(table, keys: FailureRuleDraft.keys, prefix: "", display: "on_error.", file: file, into: &draft)
      if problems.count == before, draft.actions.isEmpty {
        add(.missingKey, location(value.place, file), "on_error", "expected `do`, found nothing")
      }
      if let conflict = draft.conflict { add(.conflict, location(value.place, file), "on_error", conflict) }
      settings.failureRuleDrafts.append(draft)
    }
  }

  /// Rules may only name projections that exist.
  private mutating func checkRules(_ entries: [TOMLEntry], file: String) {
    guard case .array(let values)? = entries.first(where: { $0.key == "on_error" })?.value.content else { return }
    let names = settings.declarations.map(\.name)
    for (value, draft) in zip(values, settings.failureRuleDrafts) {
      for name in draft.projections where !names.contains(name) {
        let place = value.entries.first { $0.key == "projection" }?.value.place ?? value.place
        add(
          .conflict, location(place, file), "on_error.projection",
          "expected a declared projection, found \(TOMLText.string(name))",
          hint: nearestName(to: name, in: names).map { "did you mean \"\($0)\"?" })
      }
    }
  }

  // MARK: Projections

  private mutating func readProjections(_ entries: [TOMLEntry], file: String) {
    guard let projections = entries.first(where: { $0.key == "projections" }) else { return }
    guard case .table(let tables) = projections.value.content else {
      add(
        .value, location(projections.value.place, file), "projections",
        "expected tables [projections.NAME], found \(found(projections.value))")
      return
    }
    for entry in tables { readProjection(entry, file: file) }
  }

  private mutating func readProjection(_ entry: TOMLEntry, file: String) {
    let path = "projections.\(entry.key)"
    guard case .table(let entries) = entry.value.content else {
      add(.value, location(entry.value.place, file), path, "expected a table, found \(found(entry.value))")
      return
    }
    var declaration = ProjectionDeclaration(name: entry.key, file: file, place: entry.place)
    let problemsBefore = problems.count
    read(entries, keys: ProjectionDraft.keys, prefix: "", display: path + ".", file: file, into: &declaration.draft)
    if let message = ProjectionCheck.problem(withName: entry.key) {
      add(.value, location(entry.place, file), path, message)
    }
    if let other = settings.declarations.first(where: { $0.name == entry.key }) {
      add(
        .conflict, location(entry.place, file), path,
        "declared a second time; the first is at \(other.file):\(other.place.line)")
    }
    let hadProblems = problems.count > problemsBefore
    settings.declarations.append(declaration)
    var check = ProjectionCheck(declaration: declaration, path: path)
    let definition = check.definition { readText($0, path: path, $1, file: file) }
    // What follows from a problem that was already told is not told again.
    problems += check.problems.filter { !hadProblems || $0.code != .missingKey }
    if let definition { settings.projections.append(definition) }
  }

  /// The file that `sql_file` or `setup_file` names.
  private mutating func readText(_ reference: ProjectionDraft.Text, path: String, _ key: String, file: String)
    -> Statement?
  {
    let target = Self.resolve(reference.text, besides: file)
    switch files.read(target) {
    case .success(let bytes):
      guard let text = String(validating: bytes, as: UTF8.self) else {
        add(.unreadable, location(reference.place, file), "\(path).\(key)", "\(target) is not UTF-8 text")
        return nil
      }
      return Statement(text: text, source: SourceLocation(file: target, line: 1))
    case .failure(let problem):
      add(
        .unreadable, location(reference.place, file), "\(path).\(key)", "\(target) cannot be read: \(problem.message)")
      return nil
    }
  }

  // MARK: What several keys say together

  private mutating func checkPolling(_ entries: [TOMLEntry], file: String) {
    guard settings.eventStore.pollMin > settings.eventStore.pollMax else { return }
    let line = entries.first { $0.key == "event_store" }?.place.line ?? 1
    add(
      .conflict, SourceLocation(file: file, line: line), "event_store.poll_min",
      "expected at most poll_max (\(settings.eventStore.pollMax.settingText)), found \(settings.eventStore.pollMin.settingText)"
    )
  }

  // MARK: Words

  /// The same entry with `${NAME}` replaced in every string.
  private mutating func filled(_ entry: TOMLEntry, path: String, file: String) -> TOMLEntry {
    var entry = entry
    entry.value = filled(entry.value, path: path, file: file)
    return entry
  }

  private mutating func filled(_ value: TOMLValue, path: String, file: String) -> TOMLValue {
    var value = value
    switch value.content {
    case .string(let text) where text.contains("${"):
      var unset: [String] = []
      let text = Variables.fill(text, from: environment) { unset.append($0) }
      for name in unset {
        add(
          .unsetVariable, location(value.place, file), path,
          "expected the environment variable \(name), found it unset",
          hint: "write $${\(name)} where the dollar is meant")
      }
      if case .string(let written) = value.content { value.written = written }
      value.content = text.map { .string($0) } ?? .unusable
    case .array(let values): value.content = .array(values.map { filled($0, path: path, file: file) })
    case .table(let entries):
      value.content = .table(entries.map { filled($0, path: "\(path).\($0.key)", file: file) })
    case .string, .integer, .float, .boolean, .time, .unusable: break
    }
    return value
  }

  private func found(_ value: TOMLValue) -> String {
    switch value.content {
    case .string(let text):
      let text = value.written ?? text
      return TOMLText.string(text.count > 60 ? text.prefix(57) + "…" : text)
    case .integer(let number): return "\(number)"
    case .float(let number): return "\(number)"
    case .boolean(let flag): return "\(flag)"
    case .time(let text): return text
    case .array(let values): return values.isEmpty ? "an empty array" : "an array"
    case .table(let entries): return entries.isEmpty ? "an empty table" : "a table"
    case .unusable: return "nothing"
    }
  }

  /// What kind of value it is, for a key whose value may be a secret.
  private func kind(_ value: TOMLValue) -> String {
    switch value.content {
    case .string: "a string"
    case .integer, .float: "a number"
    case .boolean, .time, .array, .table, .unusable: found(value)
    }
  }

  private func location(_ place: TOMLPlace?, _ file: String) -> SourceLocation {
    SourceLocation(file: file, line: place?.line ?? 0, column: place?.column ?? 0)
  }

  private mutating func add(
    _ code: Problem.Code, _ location: SourceLocation, _ path: String, _ message: String, hint: String? = nil
  ) {
    problems.append(Problem(code: code, location: location, path: path, message: message, hint: hint))
  }
}
