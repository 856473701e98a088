import Rules

// `${NAME}` stands for a value that may be secret, whatever key it is in. So nothing that shows settings shows the value: print-config
// prints such a key as the file has it, and a problem names the variable where its message would repeat the value.

/// Where `${NAME}` is in the settings, and what it stands for.
struct Written: Hashable, Sendable {
  /// The keys in whose values variables were replaced, with the values as the file has them, in TOML.
  private(set) var texts: [String: String] = [:]
  /// The variables that were replaced, by the key in whose value.
  private var variables: [String: Concealment] = [:]

  mutating func replaced(_ name: String, by value: String, at path: String) {
    variables[path, default: Concealment()].add(name, value)
  }

  /// What the variables under these keys stand for; under all of them without one.
  func concealment(under prefixes: String...) -> Concealment {
    variables.reduce(into: Concealment()) { result, item in
      if prefixes.isEmpty || prefixes.contains(where: item.key.hasPrefix) { result.add(item.value) }
    }
  }

  /// - Parameter path: the key with its tables.
  mutating func keep(_ value: TOMLValue, at path: String, isSecret: Bool) {
    guard value.isFilled else { return }
    texts[path] = isSecret ? TOMLText.string(redacted(connectionString: value.writtenString)) : TOMLText.value(value)
  }
}

extension TOMLValue {
  /// Whether the file has `${NAME}` in it, or in a value inside it.
  var isFilled: Bool {
    switch content {
    case .array(let values): values.contains(where: \.isFilled)
    case .table(let entries): entries.contains { $0.value.isFilled }
    case .string, .integer, .float, .boolean, .time, .unusable: written != nil
    }
  }

  /// A string as the file has it; empty for another value.
  var writtenString: String {
    if let written { return written }
    if case .string(let text) = content { return text }
    return ""
  }
}

extension TOMLText {
  /// A value as TOML, with `${NAME}` as the file has it.
  static func value(_ value: TOMLValue) -> String {
    switch value.content {
    case .string, .unusable: block(value.writtenString)
    case .integer(let number): "\(number)"
    case .float(let number): "\(number)"
    case .boolean(let flag): "\(flag)"
    case .time(let text): text
    case .array(let values): "[" + values.map(self.value).joined(separator: ", ") + "]"
    case .table(let entries):
      "{ " + entries.map { "\(key($0.key)) = \(self.value($0.value))" }.joined(separator: ", ") + " }"
    }
  }
}
