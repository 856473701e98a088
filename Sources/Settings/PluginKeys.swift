import Rules

/// The keys of a projection that is a plugin, as the file has them.
struct PluginDraft: Hashable, Sendable {
  var exec: [String]?
  var library: String?
  var config: String?
  var effects: PluginDefinition.Effects?
  var timeout: Duration?
  var environment: [Variable]?
  var workingDirectory: String?
  var rebuildExternal: Bool?

  struct Variable: Hashable, Sendable {
    var name: String
    var value: String
  }

  /// The forms of a projection that each key goes with.
  static let company = [
    "config": ["library"], "env": ["exec"], "working_directory": ["exec"], "effects": ["exec", "library"],
    "timeout": ["exec", "library"], "rebuild_external": ["exec", "library"],
  ]

  /// What is said to whoever gives a key to another form.
  static func hint(for key: String) -> String {
    "it goes with \(company[key]!.map { "`\($0)`" }.joined(separator: " and "))"
  }

  /// The first key that means nothing to a projection of this form.
  func stray(for form: String) -> String? {
    let given = [
      ("config", config != nil), ("env", environment != nil), ("working_directory", workingDirectory != nil),
      ("effects", effects != nil), ("timeout", timeout != nil), ("rebuild_external", rebuildExternal != nil),
    ].filter(\.1).map(\.0)
    return given.first { !Self.company[$0]!.contains(form) }
  }

  /// What it comes to; nil where no plugin is declared.
  ///
  /// - Parameter file: whose directory relative paths start from.
  func definition(besides file: String) -> PluginDefinition? {
    let program: PluginDefinition.Program
    if let exec {
      // A name without a slash is looked for in PATH.
      let path = exec[0].contains("/") ? SettingsReader.resolve(exec[0], besides: file) : exec[0]
      program = .exec([path] + exec.dropFirst())
    } else if let library {
      program = .library(path: SettingsReader.resolve(library, besides: file), config: config ?? "")
    } else {
      return nil
    }
    return PluginDefinition(
      program: program, effects: effects ?? .external, timeout: timeout ?? .seconds(30),
      environment: Dictionary((environment ?? []).map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }),
      workingDirectory: workingDirectory.map { SettingsReader.resolve($0, besides: file) },
      rebuildsExternal: rebuildExternal ?? false)
  }
}

extension ProjectionDraft {
  static let pluginKeys: [Key<ProjectionDraft>] = [
    Key(
      path: "exec", form: "an array of a program and its arguments, like [\"/usr/lib/shop/mailer\", \"--verbose\"]",
      meaning: """
        A plugin: a child process that is handed pages of events on its standard input and answers on its standard output, as
        tidemark-plugin(7) describes. One runs for each shard, for as long as the shard does. A relative path starts from the directory
        of this file; a name without a slash is looked for in PATH.
        """,
      example: "[\"/usr/lib/shop/mailer\", \"--verbose\"]",
      decode: { toml, root throws(Mismatch) in
        guard case .array(let values) = toml.content, !values.isEmpty else { throw Mismatch() }
        var words: [String] = []
        for value in values {
          switch value.content {
          case .string(let text) where !text.contains("\0"): words.append(text)
          case .unusable: return
          default: throw Mismatch()
          }
        }
        guard !words[0].isEmpty else { throw Mismatch(found: "an empty name") }
        root.plugin.exec = words
      },
      show: { $0.plugin.exec.map(TOMLText.strings) }),
    .optionalString(
      "library", \.plugin.library, "the path of a shared object", example: "/usr/lib/shop/libsearch.so",
      """
      A plugin: a shared object with the interface of tidemark_plugin.h, for speed. It runs in the daemon's own process, so a crash of
      it is one of the daemon; use exec unless the speed is needed.
      """),
    .optionalString(
      "config", \.plugin.config, "a text", example: "index=/var/lib/shop/search",
      "With library: what the plugin is opened with."),
    Key(
      path: "effects", form: Key<ProjectionDraft>.oneOf(PluginDefinition.Effects.allCases.map(\.rawValue)),
      meaning: """
        Of a plugin. With "external", the default, the position moves once the plugin has answered, so after a crash the same page
        can come again: seq_id is what to tell a repetition by. With "database" the plugin answers with SQL statements, which are
        applied in one transaction with the position: exactly once.
        """,
      example: "\"database\"",
      decode: { toml, root throws(Mismatch) in
        guard case .string(let text) = toml.content else { throw Mismatch() }
        let names = PluginDefinition.Effects.allCases.map(\.rawValue)
        guard let effects = PluginDefinition.Effects(rawValue: text) else {
          throw Mismatch(hint: nearestName(to: text, in: names).map { "did you mean \"\($0)\"?" })
        }
        root.plugin.effects = effects
      },
      show: { $0.plugin.effects.map { TOMLText.string($0.rawValue) } }),
    Key(
      path: "timeout", form: "a duration from 100ms to 1d, like \"30s\" or \"5m\"",
      meaning: """
        Of a plugin: longest it may take for one page, and for its first word; 30s where it is left out. After that it is ended and
        started again, and handed fewer events at once.
        """,
      example: "\"30s\"",
      decode: { toml, root throws(Mismatch) in
        guard case .string(let text) = toml.content, let duration = Duration(setting: text),
          (.milliseconds(100)...Duration.seconds(86_400)).contains(duration)
        else { throw Mismatch() }
        root.plugin.timeout = duration
      },
      show: { $0.plugin.timeout.map { TOMLText.string($0.settingText) } }),
    Key(
      path: "env", form: "a table of strings, like { SMTP_HOST = \"localhost\" }",
      meaning:
        "With exec: variables that are added to the daemon's own environment. ${NAME} stands for one of the daemon's.",
      example: "{ SMTP_HOST = \"localhost\" }",
      decode: { toml, root throws(Mismatch) in
        guard case .table(let entries) = toml.content, !entries.isEmpty else { throw Mismatch() }
        var variables: [PluginDraft.Variable] = []
        for entry in entries {
          guard !entry.key.isEmpty, !entry.key.contains("="), !entry.key.contains("\0") else {
            throw Mismatch(expected: "names without \"=\"", found: TOMLText.string(entry.key))
          }
          switch entry.value.content {
          case .string(let text) where !text.contains("\0"):
            variables.append(PluginDraft.Variable(name: entry.key, value: text))
          case .unusable: return
          default: throw Mismatch(expected: "a string for each variable", found: "something else for \(entry.key)")
          }
        }
        root.plugin.environment = variables
      },
      show: { draft in
        draft.plugin.environment.map { variables in
          "{ "
            + variables.map { "\(TOMLText.key($0.name)) = \(TOMLText.string($0.value))" }.joined(separator: ", ") + " }"
        }
      }),
    .optionalString(
      "working_directory", \.plugin.workingDirectory, "the path of a directory", example: "/var/lib/shop",
      "With exec: where the plugin runs; in the daemon's own directory where it is left out."),
    Key(
      path: "rebuild_external", form: "true or false",
      meaning: """
        Of a plugin with effects = "external": whether `tidemark rebuild` may hand it every event again, with mode "rebuild" in its hello.
        Where it is left out, or false, it may not: mails that were sent are not sent again.
        """,
      example: "true",
      decode: { toml, root throws(Mismatch) in
        guard case .boolean(let flag) = toml.content else { throw Mismatch() }
        root.plugin.rebuildExternal = flag
      },
      show: { $0.plugin.rebuildExternal.map { "\($0)" } }),
  ]
}
