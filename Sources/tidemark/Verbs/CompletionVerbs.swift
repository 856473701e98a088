import Commands
import Rules
import Settings

/// Prints what makes a shell complete our command lines.
enum Completions {
  static let verb = Verb(
    "completions", about: "Print the completion script of a shell.",
    discussion: """
      The script completes verbs, options and their values, and the shards, projections, plugins and databases of the settings file: the
      one that the line names, or TIDEMARK_CONFIG, or the default. It asks this program, and no database. Packages put the scripts where
      the shells look for them; for yourself, one of these lines makes a difference:

        source <(tidemark completions bash)     # in ~/.bashrc
        source <(tidemark completions zsh)      # in ~/.zshrc, after compinit
        tidemark completions fish | source      # in ~/.config/fish/config.fish
      """,
    arguments: [shell]
  ) { print($0[shell].script(for: "tidemark"), terminator: "") }

  static let shell: Argument<Shell> = .one(.choice("SHELL"), "The shell.")
}

/// For the scripts: what fits at the end of a command line. Says nothing else, whatever is wrong, and never exits with an error: it is
/// called while somebody types.
enum Complete {
  /// - Parameter program: whose lines are completed.
  static func verb(of program: @escaping @Sendable () -> Verb) -> Verb {
    Verb("complete", about: "Print what completes a command line.", arguments: [words], isHidden: true) { line in
      let offer = program().complete(line[words], names: names)
      print(offer.lines.joined(separator: "\n"))
    }
  }

  static let words: Argument<[String]> = .any(.text("WORD"), "The words before the cursor; the last may be empty.")

  private static func names(_ kind: NameKind, _ line: ParsedLine) -> [Offer.Candidate] {
    guard let settings = settings(line) else { return [] }
    return candidates(kind, settings).filter { isPlain($0.text) }
  }

  /// What a shell takes as it stands: a name that it would read as more than a name, or that spans lines, is not offered.
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

  /// The settings that the line names. What is wrong with them is not for somebody who types: then nothing is offered.
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
