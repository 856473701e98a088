import Rules

/// The keys of a plugin projection, as written in the file.
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

  /// The forms of projection that accept each key.
  static let forms = [
    "config": ["library"], "env": ["exec"], "working_directory": ["exec"], "effects": ["exec", "library"],
    "timeout": ["exec", "library"], "rebuild_external": ["exec", "library"],
  ]

  /// The hint for a key in a projection of another form.
  static func hint(for key: String) -> String {
    "it is for projections with \(forms[key]!.map { "`\($0)`" }.joined(separator: " or "))"
  }

  /// The first key that a projection of this form does not accept.
  func stray(for form: String) -> String? {
    let given = [
      ("config", config != nil), ("env", environment != nil), ("working_directory", workingDirectory != nil),
      ("effects", effects != nil), ("timeout", timeout != nil), ("rebuild_external", rebuildExternal != nil),
    ].filter(\.1).map(\.0)
    return given.first { !Self.forms[$0]!.contains(form) }
  }

  /// The definition; nil if no plugin is declared.
  ///
  /// - Parameter file: the file whose directory relative paths start from.
  func definition(besides file: String) -> PluginDefinition? {
    let program: PluginDefinition.Program
    if let exec {
      // A name without a slash is looked up in PATH.
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
        A plugin as a child process: it reads pages of events from standard input and writes answers to standard output, as described in
        tidemark-plugin(7). Each shard has its own child, which runs as long as the shard does. A relative path starts from the directory
        of this file; a name without a slash is looked up in PATH.
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
      A plugin as a shared object with the interface of tidemark_plugin.h, for speed. It runs in the daemon's own process, so if it
      crashes, the daemon crashes. Use exec unless you need the speed.
      """),
    .optionalString(
      "config", \.plugin.config, "a text", example: "index=/var/lib/shop/search",
      "With library: a text that the daemon passes to the plugin when it opens it."),
    Key(
      path: "effects", form: Key<ProjectionDraft>.oneOf(PluginDefinition.Effects.allCases.map(\.rawValue)),
      meaning: """
        For a plugin. With "external", the default, the position moves after the plugin has answered, so after a crash the plugin may get
        the same events again and can recognize them by seq_id. With "database" the plugin answers with SQL statements, which the daemon
        applies in one transaction with the position: exactly once.
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
        For a plugin: the longest time for one page, and for it to become ready; 30s if omitted. After that the daemon ends the plugin,
        starts it again, and hands it fewer events at once.
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
        "With exec: variables to add to the daemon's own environment. ${NAME} stands for a variable of the daemon.",
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
      "With exec: the plugin's working directory; the daemon's own if omitted."),
    Key(
      path: "rebuild_external", form: "true or false",
      meaning: """
        For a plugin with effects = "external": whether `tidemark rebuild` may hand it every event again, with mode "rebuild" in its hello.
        If omitted or false, it may not, so mail is not sent a second time.
        """,
      example: "true",
      decode: { toml, root throws(Mismatch) in
        guard case .boolean(let flag) = toml.content else { throw Mismatch() }
        root.plugin.rebuildExternal = flag
      },
      show: { $0.plugin.rebuildExternal.map { "\($0)" } }),
  ]
}
