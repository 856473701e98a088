import Rules

/// The settings as text: the values in effect, and the sample file that explains every key.
extension Settings {
  /// The keys whose new values need a restart of the daemon.
  package func keysThatNeedRestart(for new: Settings) -> [String] {
    var paths = Settings.keys.filter { !$0.isReloadable && $0.show(self) != $0.show(new) }.map(\.path)
    // Passwords are never shown, so the comparison above misses a change of only the password.
    if paths.allSatisfy({ !$0.hasPrefix("database.") }), database != new.database { paths.append("database.url") }
    if namedDatabases != new.namedDatabases { paths.append("databases") }
    return paths
  }

  /// A settings file with the same meaning, with every key, defaults included. Passwords in connection strings are shown as `***`, and
  /// what came from `${NAME}` as the file has it.
  package static func printConfig(_ settings: Settings) -> String {
    var text = TOMLWriter()
    let written = settings.written.texts
    for key in keys {
      if let value = written[key.path] ?? key.show(settings) { text.add(key.path, value) }
    }
    for database in settings.namedDatabases {
      let table = "databases.\(database.name ?? "")"
      text.openTable("databases.\(TOMLText.key(database.name ?? ""))")
      for key in DatabaseSettings.keys {
        let common = "database.\(key.path)"
        let isCommon = written["\(table).\(key.path)"] == nil && key.show(database) == key.show(settings.database)
        let asWritten = written["\(table).\(key.path)"] ?? (isCommon ? written[common] : nil)
        if let value = asWritten ?? key.show(database) { text.add(key.path, value, inOpenTable: true) }
      }
    }
    for (index, draft) in settings.failureRuleDrafts.enumerated() {
      text.openTable("[on_error]")
      for key in FailureRuleDraft.keys {
        let asWritten = written[home(ofRule: index) + key.path]
        if let value = asWritten ?? key.show(draft) { text.add(key.path, value, inOpenTable: true) }
      }
    }
    for declaration in settings.declarations {
      text.openTable("projections.\(TOMLText.key(declaration.name))")
      for key in ProjectionDraft.keys {
        let asWritten = written["projections.\(declaration.name).\(key.path)"]
        if let value = asWritten ?? key.show(declaration.draft) { text.add(key.path, value, inOpenTable: true) }
      }
    }
    return text.text
  }

  /// What comes before the keys of a rule in ``Written``.
  static func home(ofRule index: Int) -> String { "on_error.\(index)." }

  /// The meaning of `[databases.NAME]`.
  private static let databases = """
    Several databases, for example one per tenant: one table [databases.NAME] for each, with its own url and any other keys of [database].
    [database] then holds the values they share, and has no url. Every database has the same kind of event store and the same projections.
    With "hotcold" all shards of a database run on one node. Verbs take --database NAME.
    """

  /// Every key with its meaning and default; a key without a default is commented out.
  package static func sampleFull() -> String {
    var text = TOMLWriter()
    text.comment(
      "Every key of Tidemark's settings, with its default. See tidemark.toml(5); `tidemark check` checks the file.")
    var settings = Settings()
    settings.database.url = "postgresql:///shop?host=/run/postgresql"
    for key in keys {
      text.open(for: key.path)
      text.comment(key.meaning)
      text.comment("Expected: \(key.form).")
      text.add(key.path, key.show(settings), example: key.example)
      if key.path == "database.\(DatabaseSettings.keys.last?.path ?? "")" {
        text.comment(databases)
        text.text += "# [databases.acme]\n# url = \"postgresql:///acme?host=/run/postgresql\"\n"
      }
    }
    text.openTable("[on_error]")
    let rule = FailureRuleDraft(
      sqlStates: ["40001", "40P01"],
      actions: [.retry(after: .milliseconds(50)), .retry(after: .seconds(1)), .pause(.seconds(60))])
    text.comment("Any number of rules. The first one that matches a failure applies; they come before the defaults.")
    for key in FailureRuleDraft.keys {
      text.comment(key.meaning)
      text.comment("Expected: \(key.form).")
      text.add(key.path, key.show(rule), example: key.example, inOpenTable: true)
    }
    text.openTable("projections.Trip")
    var draft = ProjectionDraft()
    let nowhere = TOMLPlace(line: 0, column: 0)
    draft.events = ["travel"]
    draft.tables = ["trip"]
    draft.setup = ProjectionDraft.Text(
      text: "CREATE TABLE trip (id uuid PRIMARY KEY, traveled numeric NOT NULL)\n", place: nowhere, firstLine: 0)
    draft.sql = ProjectionDraft.Text(
      text: """
        INSERT INTO trip AS t (id, traveled)
        SELECT stream_id, sum((data->>'Traveled')::numeric) FROM batch GROUP BY stream_id
        ON CONFLICT (id) DO UPDATE SET traveled = t.traveled + excluded.traveled

        """, place: nowhere, firstLine: 0)
    for key in ProjectionDraft.keys {
      text.comment(key.meaning)
      text.comment("Expected: \(key.form).")
      text.add(key.path, key.show(draft), example: key.example, inOpenTable: true)
    }
    return text.text
  }
}

/// Writes keys as TOML, with a header at the start of each table.
private struct TOMLWriter {
  var text = ""
  private var table = ""

  mutating func open(for path: String) {
    let parts = path.split(separator: ".").dropLast()
    let wanted = parts.joined(separator: ".")
    if wanted != table { openTable(wanted) }
  }

  mutating func openTable(_ name: String) {
    table = name
    text += "\(text.isEmpty ? "" : "\n")[\(name)]\n"
  }

  mutating func add(_ path: String, _ value: String?, example: String? = nil, inOpenTable: Bool = false) {
    if !inOpenTable { open(for: path) }
    let name = inOpenTable ? path : String(path.split(separator: ".").last ?? "")
    if let value {
      text += "\(name) = \(value)\n"
    } else if let example {
      text += "# \(name) = \(example)\n"
    }
  }

  /// Wrapped at 100 columns.
  mutating func comment(_ words: String) {
    var line = "#"
    for word in words.split(whereSeparator: { $0 == " " || $0 == "\n" }) {
      if line.count + word.count + 1 > 100 {
        text += line + "\n"
        line = "#"
      }
      line += " " + word
    }
    text += line + "\n"
  }
}

/// The manual's entry for one key.
package struct KeyDocument: Sendable, Hashable {
  /// With its table: `event_store.gap_grace`, `projections.NAME.sql`.
  package var path: String
  package var form: String
  package var meaning: String
  /// The default in TOML; nil if there is none.
  package var standard: String?
  package var isReloadable: Bool
}

extension Settings {
  /// Every key; those of projections come last.
  package static var documents: [KeyDocument] {
    let defaults = Settings()
    let draft = ProjectionDraft()
    return keys.map {
      KeyDocument(
        path: $0.path, form: $0.form, meaning: $0.meaning, standard: $0.show(defaults), isReloadable: $0.isReloadable)
    }
      + [
        KeyDocument(
          path: "databases.NAME", form: "a table with a url and any other keys of [database]", meaning: databases,
          standard: nil, isReloadable: false)
      ]
      + FailureRuleDraft.keys.map {
        KeyDocument(path: "on_error.\($0.path)", form: $0.form, meaning: $0.meaning, standard: nil, isReloadable: true)
      }
      + ProjectionDraft.keys.map {
        KeyDocument(
          path: "projections.NAME.\($0.path)", form: $0.form, meaning: $0.meaning, standard: $0.show(draft),
          isReloadable: true)
      }
  }
}
