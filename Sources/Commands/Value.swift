/// The value of an option or an argument: its name in help, the text it accepts, and the completions a shell offers for
/// it.
///
/// A value is separate from its option so that `--limit` of two verbs, or a shard as an argument and as `--shard`, are
/// parsed and completed the same way.
package struct Value<Parsed: Sendable>: Sendable {
  /// The metavariable, in capitals: `FILE`.
  package let name: String
  /// The words after "expected" in an error: `a whole number from 1 to 64`.
  let expected: String
  /// Every accepted text, if there are few; help lists them.
  let choices: [String]
  let completion: Completion
  let parse: @Sendable (String) -> Parsed?
  /// The inverse of `parse`; prints the default in help.
  let write: @Sendable (Parsed) -> String

  package init(
    _ name: String, expected: String, choices: [String] = [], completion: Completion = .nothing,
    write: @escaping @Sendable (Parsed) -> String = { "\($0)" }, parse: @escaping @Sendable (String) -> Parsed?
  ) {
    self.name = name
    self.expected = expected
    self.choices = choices
    self.completion = completion
    self.write = write
    self.parse = parse
  }
}

/// The completions a shell offers for a value.
package enum Completion: Sendable, Hashable {
  case nothing
  case files
  case words([String])
  /// The verbs of the program.
  case verbs
  /// Names of one or more kinds that only the running program knows; it is given the line typed so far.
  case names([NameKind], orFiles: Bool = false)
}

/// A kind of name that the settings file declares.
package enum NameKind: Sendable {
  case shards, projections, databases, plugins
}

extension Value where Parsed == String {
  /// Any text.
  package static func text(_ name: String, completion: Completion = .nothing) -> Value {
    Value(name, expected: "a text", completion: completion) { $0 }
  }
}

extension Value where Parsed: FixedWidthInteger {
  /// A whole number.
  ///
  /// - Parameters:
  ///   - range: the accepted numbers; nil accepts all.
  ///   - noun: names the number in an error: `a sequence`.
  package static func integer(
    _ name: String, _ range: ClosedRange<Parsed>? = nil, noun: String = "a whole number"
  ) -> Value {
    let limits =
      switch range {
      case nil: ""
      case let range? where range.upperBound == .max: " from \(range.lowerBound)"
      case let range?: " from \(range.lowerBound) to \(range.upperBound)"
      }
    return Value(name, expected: noun + limits) { text in
      guard let number = Parsed(text), range?.contains(number) ?? true else { return nil }
      return number
    }
  }
}

extension Value where Parsed: RawRepresentable<String> & CaseIterable {
  /// One of the cases of an enumeration, by its raw value.
  package static func choice(_ name: String) -> Value {
    let words = Parsed.allCases.map(\.rawValue)
    return Value(
      name, expected: inWords(words, "or"), choices: words, completion: .words(words), write: { $0.rawValue }
    ) { Parsed(rawValue: $0) }
  }
}

/// `a, b or c`.
func inWords(_ words: [String], _ conjunction: String) -> String {
  guard words.count > 1, let last = words.last else { return words.first ?? "" }
  return "\(words.dropLast().joined(separator: ", ")) \(conjunction) \(last)"
}
