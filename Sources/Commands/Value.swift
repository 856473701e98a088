/// What an option or an argument takes: its name in help, the text it accepts, and what a shell offers for it.
///
/// A value is told apart from its option so that `--limit` of two verbs, or a shard as argument and as `--shard`, are read and
/// completed the same way.
package struct Value<Parsed: Sendable>: Sendable {
  /// The metavariable, in capitals: `FILE`.
  package let name: String
  /// What a wrong text is told: `a whole number from 1 to 64`.
  let expected: String
  /// Every text that is accepted, where they can be counted; help lists them.
  let choices: [String]
  let completion: Completion
  let parse: @Sendable (String) -> Parsed?
  /// The inverse of `parse`, for the default in help.
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

/// What a shell offers in a value's place.
package enum Completion: Sendable, Hashable {
  case nothing
  case files
  case words([String])
  /// The verbs of the program.
  case verbs
  /// Names that only the program knows while it runs, of one or several kinds: it is asked with what stands on the line.
  case names([NameKind], orFiles: Bool = false)
}

/// A kind of names that the settings file declares.
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
  ///   - range: the numbers that are accepted; all when nil.
  ///   - noun: what the number is, for the error: `a sequence`.
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
