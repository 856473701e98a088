import Rules

extension Settings {
  /// Reads the settings file, and `projections.d/*.toml` in its directory.
  ///
  /// - Throws: every problem of all files at once.
  package static func load(
    path: String, environment: [String: String], files: SettingsFiles = .system
  ) throws(SettingsProblems) -> Settings {
    var reader = SettingsReader(environment: environment, files: files)
    reader.readMain(path)
    return try reader.finish()
  }

  /// Reads settings from a text instead of a file.
  ///
  /// - Parameter file: the name of the text in problems; relative paths start from its directory.
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
  var settings = Settings()
  var problems: [Problem] = []
  private(set) var written = Written()
  /// The files that were read so far.
  var named: [NamedFile] = []

  init(environment: [String: String], files: SettingsFiles) {
    self.environment = environment
    self.files = files
  }

  mutating func finish() throws(SettingsProblems) -> Settings {
    guard problems.isEmpty else { throw SettingsProblems(problems: problems.map(concealed)) }
    settings.written = written
    settings.files = named
    return settings
  }

  private func concealed(_ problem: Problem) -> Problem {
    let concealment = written.concealment()
    var problem = problem
    problem.message = concealment.concealingAll(problem.message)
    problem.detail = problem.detail.map(concealment.concealingAll)
    problem.hint = problem.hint.map(concealment.concealing)
    return problem
  }

  // MARK: Files

  mutating func readMain(_ path: String) {
    guard let text = text(of: path, hint: "Name another file with --config or TIDEMARK_CONFIG.") else { return }
    named.append(NamedFile(path, .settings))
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
      if names != nil { named.append(NamedFile(directory, .folderOfProjections)) }
      for name in (names ?? []).sorted() where name.hasSuffix(".toml") && !name.hasPrefix(".") {
        let file = "\(directory)/\(name)"
        guard let text = text(of: file, hint: nil), let entries = tree(of: text, file: file) else { continue }
        named.append(NamedFile(file, .projections))
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
      add(.syntax, location(error.place, file), "", "not valid TOML: \(error.message)")
      return nil
    }
  }

  /// Resolves a path from a settings file; a relative one starts from the directory of that file.
  static func resolve(_ path: String, besides file: String) -> String {
    guard !path.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return path }
    return file[...slash] + path
  }

  // MARK: Keys

  /// - Parameters:
  ///   - display: what comes before a key in problems.
  ///   - home: what comes before it in ``Written``; the same if nil.
  mutating func read<Root>(
    _ entries: [TOMLEntry], keys: [Key<Root>], prefix: String, others: [String] = [], display: String = "",
    home: String? = nil, file: String,
    into root: inout Root
  ) {
    for entry in entries {
      let path = prefix + entry.key
      if let key = keys.first(where: { $0.path == path }) {
        decode(entry.value, key, display + path, file, &root)
        written.keep(entry.value, at: (home ?? display) + path, isSecret: key.isSecret)
        if key.isSecret, holdsPassword(connectionString: entry.value.writtenString) { markPassword(in: file) }
      } else if keys.contains(where: { $0.path.hasPrefix(path + ".") }) {
        guard let inner = table(entry.value, display + path, file) else { continue }
        read(inner, keys: keys, prefix: path + ".", display: display, home: home, file: file, into: &root)
      } else if !others.contains(path) {
        addUnknown(entry, path, among: keys.map(\.path) + others, prefix: prefix, display, file)
      }
    }
  }

  private mutating func markPassword(in file: String) {
    for index in named.indices where named[index].path == file { named[index].holdsPassword = true }
  }

  /// The entries of a table; for any other value it adds a problem and returns nil.
  mutating func table(_ value: TOMLValue, _ path: String, _ file: String, expected: String = "a table") -> [TOMLEntry]?
  {
    if case .table(let entries) = value.content { return entries }
    add(.value, location(value.place, file), path, "expected \(expected), found \(found(value))")
    return nil
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
      hint = "did you mean \(display)\(elsewhere)?"
    }
    let known = siblings.isEmpty ? "no key" : "one of " + siblings.joined(separator: ", ")
    add(.unknownKey, location(entry.place, file), display + path, "unknown key", hint: hint ?? "expected \(known)")
  }

  // MARK: Checks across keys

  private mutating func checkPolling(_ entries: [TOMLEntry], file: String) {
    guard settings.eventStore.pollMin > settings.eventStore.pollMax else { return }
    let line = entries.first { $0.key == "event_store" }?.place.line ?? 1
    add(
      .conflict, SourceLocation(file: file, line: line), "event_store.poll_min",
      "expected at most poll_max (\(settings.eventStore.pollMax.settingText)), found \(settings.eventStore.pollMin.settingText)"
    )
  }

  // MARK: Words

  /// The entry with `${NAME}` replaced in every string.
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
      let text = Variables.fill(
        text, from: environment, used: { written.replaced($0, by: $1, at: path) }, unset: { unset.append($0) })
      for name in unset {
        add(
          .unsetVariable, location(value.place, file), path,
          "expected the environment variable \(name), found it unset",
          hint: "write $${\(name)} for the text ${\(name)} itself")
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

  func found(_ value: TOMLValue) -> String {
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

  /// The kind of a value, for a key whose value may be secret.
  private func kind(_ value: TOMLValue) -> String {
    switch value.content {
    case .string: "a string"
    case .integer, .float: "a number"
    case .boolean, .time, .array, .table, .unusable: found(value)
    }
  }

  func location(_ place: TOMLPlace?, _ file: String) -> SourceLocation {
    SourceLocation(file: file, line: place?.line ?? 0, column: place?.column ?? 0)
  }

  mutating func add(
    _ code: SettingsCode, _ location: SourceLocation, _ path: String, _ message: String, hint: String? = nil
  ) {
    problems.append(Problem(.settings(code), message, hint: hint, source: location, key: path))
  }
}
