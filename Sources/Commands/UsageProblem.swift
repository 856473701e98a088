import Rules

/// One problem with a command line.
package enum UsageProblem: Error, Hashable, Sendable {
  case unknownVerb(String, parent: [String], nearest: String?)
  case missingVerb(option: String)
  case unknownOption(String, nearest: String?)
  /// `-cFILE`.
  case attachedValue(short: Character, metavariable: String, value: String)
  /// - Parameter next: the word that follows, if it begins with a dash.
  case missingValue(option: String, metavariable: String, next: String?)
  case unexpectedValue(option: String, value: String)
  case wrongValue(name: String, expected: String, found: String)
  case unexpectedArgument(String)
  case missingArgument(String)
}

extension UsageProblem: CustomStringConvertible {
  /// One line.
  package var description: String {
    switch self {
    case .unknownVerb(let word, let parent, let nearest):
      let place = parent.isEmpty ? "" : " of \(parent.joined(separator: " "))"
      return "unknown verb\(place) \"\(word)\"" + Self.question(nearest)
    case .missingVerb(let option): return "expected a verb, found \"\(option)\"; options come after the verb"
    case .unknownOption(let word, let nearest): return "unknown option \"\(word)\"" + Self.question(nearest)
    case .attachedValue(let short, let metavariable, let value):
      return "-\(short) takes its \(metavariable) as a separate word: -\(short) \(value)"
    case .missingValue(let option, let metavariable, let next):
      // Only the form with `=` takes a value that begins with a dash.
      let way = next.map { ", found \"\($0)\"; write a value that begins with a dash as \(option)=\($0)" } ?? ""
      return "\(option): expected \(metavariable)\(way)"
    case .unexpectedValue(let option, let value): return "\(option) takes no value, found \"\(value)\""
    case .wrongValue(let name, let expected, let found): return "\(name): expected \(expected), found \"\(found)\""
    case .unexpectedArgument(let word): return "unexpected argument \"\(word)\""
    case .missingArgument(let name): return "expected \(name)"
    }
  }

  private static func question(_ nearest: String?) -> String { nearest.map { "; did you mean \"\($0)\"?" } ?? "" }
}
