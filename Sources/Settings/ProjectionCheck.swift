import Rules

/// Checks the keys of one projection against each other, and makes the definition that the daemon runs.
struct ProjectionCheck {
  let declaration: ProjectionDeclaration
  let path: String
  private(set) var problems: [Problem] = []

  private var draft: ProjectionDraft { declaration.draft }

  init(declaration: ProjectionDeclaration, path: String) {
    self.declaration = declaration
    self.path = path
  }

  /// The problem with a projection's name, if any; the name becomes a key in a table and a field in the journal.
  static func problem(withName name: String) -> String? {
    let isPlain = name.utf8.allSatisfy {
      switch $0 {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"),
        UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
        true
      default: false
      }
    }
    guard isPlain, (1...100).contains(name.utf8.count) else {
      return
        "expected a name of 1 to 100 letters, digits, \"_\", \"-\" and \".\", found \(TOMLText.string(String(name.prefix(100))))"
    }
    if let reserved = ShardName.reserved.first(where: { $0.lowercased() == name.lowercased() }) {
      return "expected another name: \(reserved) is the event store's own row in the progression table"
    }
    return nil
  }

  /// - Parameter read: reads the file that a key names; returns nil after it has reported why the file cannot be read.
  mutating func definition(read: (ProjectionDraft.Text, _ key: String) -> Statement?) -> ProjectionDefinition? {
    guard let effect = effect(read) else { return nil }
    let setup = text(draft.setup, "setup", draft.setupFile, "setup_file", read)
    if let setup, !checkStatements(SQLText.statements(in: setup.text), of: setup, "setup") { return nil }
    if draft.events != nil, draft.on != nil {
      add(.conflict, nil, "events", "cannot be combined with `on`, which names its event types itself")
      return nil
    }
    let listed = draft.events ?? draft.on?.map(\.type) ?? []
    if let type = draft.acceptCompacted?.map(CompactedRow.type(of:)).first(where: listed.contains) {
      add(
        .conflict, nil, "accept_compacted",
        "\"\(CompactedRow.aggregate(of: type))\" says that \(type) is of no concern, and the projection takes it",
        hint: "Name it in one of the two places.")
      return nil
    }
    return ProjectionDefinition(
      name: declaration.name, version: draft.version, events: draft.events, tables: draft.tables, setup: setup,
      effect: effect,
      start: draft.start, onPoison: draft.onPoison, onMismatch: draft.onMismatch, archived: draft.archived,
      acceptCompacted: draft.acceptCompacted ?? [],
      key: draft.key, tenantKey: draft.tenantKey,
      isParallel: draft.parallel == .byStream,
      source: SourceLocation(file: declaration.file, line: declaration.place.line, column: declaration.place.column))
  }

  private mutating func effect(_ read: (ProjectionDraft.Text, String) -> Statement?) -> Effect? {
    let given = [
      ("sql", draft.sql != nil), ("sql_file", draft.sqlFile != nil), ("on", draft.on != nil),
      ("exec", draft.plugin.exec != nil), ("library", draft.plugin.library != nil),
    ].filter(\.1).map(\.0)
    guard given.count == 1 else {
      if given.isEmpty {
        add(.missingKey, nil, "", "expected `sql`, `sql_file`, `on`, `exec` or `library`, found none of them")
      } else {
        add(
          .conflict, nil, "",
          "expected one of `sql`, `sql_file`, `on`, `exec` and `library`, found \(given.joined(separator: " and "))")
      }
      return nil
    }
    if let key = draft.plugin.stray(for: given[0]) {
      add(.conflict, nil, key, "cannot be combined with `\(given[0])`", hint: PluginDraft.hint(for: key))
      return nil
    }
    if let plugin = draft.plugin.definition(besides: declaration.file) { return .plugin(plugin) }
    if let on = draft.on { return perEvent(on) }
    guard let script = text(draft.sql, "sql", draft.sqlFile, "sql_file", read) else { return nil }
    let statements = SQLText.statements(in: script.text)
    guard checkStatements(statements, of: script, given[0]) else { return nil }
    return .batch(
      statements.map {
        Statement(text: $0.text, source: SourceLocation(file: script.source.file, line: script.source.line + $0.line))
      })
  }

  private mutating func perEvent(_ on: [ProjectionDraft.OnType]) -> Effect? {
    var bound: [String: BoundStatement] = [:]
    for item in on {
      let statement = self.statement(item.statement)
      let key = "on.\(item.type)"
      let parts = SQLText.statements(in: statement.text)
      guard checkStatements(parts, of: statement, key) else { continue }
      guard parts.count == 1 else {
        add(
          .statement, statement.source, key, "expected one statement, found \(parts.count)",
          hint: "WITH can combine several into one")
        continue
      }
      do {
        bound[item.type] = try SQLText.bind(
          Statement(
            text: parts[0].text,
            source: SourceLocation(file: statement.source.file, line: statement.source.line + parts[0].line)))
      } catch {
        add(
          .statement,
          SourceLocation(file: statement.source.file, line: statement.source.line + parts[0].line + error.line), key,
          error.message)
      }
    }
    return bound.count == on.count ? .perEvent(bound) : nil
  }

  private mutating func checkStatements(_ statements: [(text: String, line: Int)], of script: Statement, _ key: String)
    -> Bool
  {
    var isFine = true
    if statements.isEmpty {
      add(.statement, script.source, key, "expected a statement, found none")
      isFine = false
    }
    for statement in statements {
      let isSetup = key.hasPrefix("setup")
      let home = isSetup ? nil : SQLText.objection(toHomeOf: statement.text)
      guard let (problem, hint) = SQLText.objection(to: statement.text, isSetup: isSetup) ?? home else {
        continue
      }
      add(
        .statement, SourceLocation(file: script.source.file, line: script.source.line + statement.line), key, problem,
        hint: hint)
      isFine = false
    }
    return isFine
  }

  private mutating func text(
    _ inline: ProjectionDraft.Text?, _ key: String, _ file: ProjectionDraft.Text?, _ fileKey: String,
    _ read: (ProjectionDraft.Text, String) -> Statement?
  ) -> Statement? {
    if inline != nil, file != nil {
      add(.conflict, nil, key, "expected one of `\(key)` and `\(fileKey)`, found both")
      return nil
    }
    return file.flatMap { read($0, fileKey) } ?? inline.map(statement)
  }

  private func statement(_ text: ProjectionDraft.Text) -> Statement {
    Statement(text: text.text, source: SourceLocation(file: declaration.file, line: text.firstLine))
  }

  private mutating func add(
    _ code: SettingsCode, _ location: SourceLocation?, _ key: String, _ message: String, hint: String? = nil
  ) {
    let location =
      location ?? SourceLocation(file: declaration.file, line: declaration.place.line, column: declaration.place.column)
    problems.append(
      Problem(
        .settings(code), message, hint: hint, source: location, key: key.isEmpty ? path : "\(path).\(key)"))
  }
}
