import Commands
import Rules
import Settings

/// Prints the completion script of a shell.
enum Completions {
  static let verb = Verb(
    "completions", about: "Print the completion script of a shell.",
    discussion: """
      The script completes verbs, options and their values, and the shards, projections, plugins and databases of the settings file: the
      file named on the command line, in TIDEMARK_CONFIG, or the default. It calls this program, which does not connect to a database.
      Packages install the scripts where the shells find them; without a package, add one of these lines:

        source <(tidemark completions bash)     # in ~/.bashrc
        source <(tidemark completions zsh)      # in ~/.zshrc, after compinit
        tidemark completions fish | source      # in ~/.config/fish/config.fish
      """,
    arguments: [shell]
  ) { printResult($0[shell].script(for: "tidemark"), terminator: "") }

  static let shell: Argument<Shell> = .one(.choice("SHELL"), "The shell.")
}

/// For the scripts: prints the completions for the end of a command line. It prints nothing else and never exits with
/// an error, since the shell calls it while the user types.
enum Complete {
  /// - Parameter program: the program whose command lines are completed.
  static func verb(of program: @escaping @Sendable () -> Verb) -> Verb {
    Verb("complete", about: "Print the completions of a command line.", arguments: [words], isHidden: true) { line in
      let offer = program().complete(line[words], names: names)
      printResult(offer.lines.joined(separator: "\n"))
    }
  }

  static let words: Argument<[String]> = .any(.text("WORD"), "The words before the cursor; the last may be empty.")

  private static func names(_ kind: NameKind, _ line: ParsedLine) -> [Offer.Candidate] {
    guard let settings = settings(line) else { return [] }
    return candidates(kind, settings).filter { isPlain($0.text) }
  }

  /// Whether a shell reads the name as one plain word. A name with special characters or line breaks is not offered.
  private static func isPlain(_ name: String) -> Bool {
    name.utf8.allSatisfy { byte in
      byte >= 0x80 || "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:+,@%=".utf8.contains(byte)
    }
  }

  private static func candidates(_ kind: NameKind, _ settings: Settings) -> [Offer.Candidate] {
    switch kind {
    case .shards: return settings.projections.map { Offer.Candidate("\($0.shard)", "shard") }
    case .projections: return settings.projections.map { Offer.Candidate($0.name, "projection") }
    case .databases: return settings.databaseNames.map { Offer.Candidate($0, "database") }
    case .plugins:
      return settings.projections.compactMap { projection in
        projection.plugin.map { plugin in
          switch plugin.program {
          case .exec(let words): Offer.Candidate(words[0], "plugin of \(projection.name)")
          case .library(let path, _): Offer.Candidate(path, "plugin of \(projection.name)")
          }
        }
      }
    }
  }

  /// The settings that the line names; nil if they have problems, so that nothing is offered and no error disturbs the
  /// user's typing.
  private static func settings(_ line: ParsedLine) -> Settings? {
    var file = SettingsOption(line).file
    if file.hasPrefix("~/"), let home = environment["HOME"] { file = home + file.dropFirst() }
    do {
      return try Settings.load(path: file, environment: environment)
    } catch {
      return nil
    }
  }
}
