/// Replaces `${NAME}` from the environment; `$${NAME}` stands for `${NAME}` itself.
enum Variables {
  /// Returns the text with variables replaced. For each it calls `used` with its value, or `unset`, and then returns nil.
  static func fill(
    _ text: String, from environment: [String: String], used: (String, String) -> Void, unset: (String) -> Void
  ) -> String? {
    var result = ""
    var isComplete = true
    var rest = Substring(text)
    while let dollar = rest.firstIndex(of: "$") {
      result += rest[..<dollar]
      let isEscaped = rest[dollar...].hasPrefix("$$")
      let reference = isEscaped ? rest[rest.index(after: dollar)...] : rest[dollar...]
      guard let name = name(at: reference) else {
        result += "$"
        rest = rest[rest.index(after: dollar)...]
        continue
      }
      let whole = reference.prefix(name.count + 3)
      if isEscaped {
        result += whole
      } else if let value = environment[name] {
        result += value
        used(name, value)
      } else {
        unset(name)
        isComplete = false
      }
      rest = rest[whole.endIndex...]
    }
    return isComplete ? result + rest : nil
  }

  /// The name in `${NAME}` at the start of the text; nil for any other dollar, as in `$1` or `$${…}`, which stays
  /// unchanged.
  private static func name(at text: Substring) -> String? {
    guard text.hasPrefix("${"), let end = text.firstIndex(of: "}") else { return nil }
    let name = text.dropFirst(2)[..<end]
    let isName =
      name.first.map { !$0.isNumber } ?? false
      && name.unicodeScalars.allSatisfy {
        $0 == "_" || ($0.isASCII && $0.properties.isAlphabetic) || ("0"..."9").contains($0)
      }
    return isName ? String(name) : nil
  }
}
