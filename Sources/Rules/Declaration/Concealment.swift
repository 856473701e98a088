/// What `${NAME}` stands for in a part of the settings: any such value may be secret, so texts show the name instead.
package struct Concealment: Hashable, Sendable {
  private var values: [String: String] = [:]

  /// Shorter values are left alone in free text: they would be found inside words.
  private static let shortest = 4

  package init(_ values: [String: String] = [:]) { self.values = values }

  package mutating func add(_ name: String, _ value: String) { values[name] = value }

  package mutating func add(_ other: Concealment) { values.merge(other.values) { $1 } }

  /// The text with `${NAME}` in the place of each value.
  package func concealing(_ text: String) -> String {
    replacing(text, values.filter { $0.value.count >= Self.shortest }) { text, value, name in
      text.split(separator: value, omittingEmptySubsequences: false).joined(separator: name)
    }
  }

  /// The same for a problem of the settings, which repeats values: the short ones too, where they stand alone.
  package func concealingAll(_ text: String) -> String {
    replacing(concealing(text), values.filter { (1..<Self.shortest).contains($0.value.count) }, Self.replacingWords)
  }

  private func replacing(
    _ text: String, _ values: [String: String], _ replace: (_ text: String, _ value: String, _ name: String) -> String
  ) -> String {
    guard !values.isEmpty else { return text }
    // The longest first, since one value may contain another.
    return values.sorted { ($1.value.count, $0.key) < ($0.value.count, $1.key) }.reduce(text) { text, variable in
      replace(text, variable.value, "${\(variable.key)}")
    }
  }

  /// What a message says was found comes last, after what was expected.
  private static func replacingWords(_ text: String, _ value: String, _ name: String) -> String {
    let start = text.ranges(of: "found ").last?.upperBound ?? text.startIndex
    var result = String(text[..<start])
    var rest = text[start...]
    while let found = rest.firstRange(of: value) {
      let before = rest[..<found.lowerBound].last ?? result.last
      let after = rest[found.upperBound...].first
      let isWord = [before, after].allSatisfy { character in
        character.map { !$0.isLetter && !$0.isNumber && $0 != "_" && $0 != "{" } ?? true
      }
      result += rest[..<found.lowerBound] + (isWord ? name : value)
      rest = rest[found.upperBound...]
    }
    return result + rest
  }
}
