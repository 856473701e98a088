/// How a verb is called: its options and arguments in order, and which of them are alternatives.
struct Synopsis {
  enum Part {
    case option(OptionDescription)
    case argument(ArgumentDescription)
    /// One of them, or none.
    case either([Part])
  }

  let parts: [Part]

  init(_ verb: Verb) {
    var shown: Set<String> = []
    func part(_ name: String) -> Part? {
      verb.shownOptions.first { $0.name == name }.map { .option($0) }
        ?? verb.arguments.first { $0.name == name }.map { .argument($0) }
    }
    var parts: [Part] = []
    for name in verb.shownOptions.map(\.name) + verb.arguments.map(\.name) where !shown.contains(name) {
      let alternatives = verb.alternatives.first { $0.contains(name) } ?? [name]
      shown.formUnion(alternatives)
      let found = alternatives.compactMap(part)
      precondition(found.count == alternatives.count, "\(verb.name): one of \(alternatives) is described nowhere")
      parts += found.count == 1 ? found : [.either(found)]
    }
    self.parts = parts
  }

  /// The pieces that must not be broken across lines, such as `[-c FILE]`.
  var words: [String] {
    parts.flatMap { part in
      guard case .either(let parts) = part else { return [Self.text(part)] }
      return parts.enumerated().map { index, part in
        (index == 0 ? "[" : "") + Self.bare(part) + (index == parts.count - 1 ? "]" : " |")
      }
    }
  }

  private static func text(_ part: Part) -> String {
    switch part {
    case .option(let option): option.usage
    case .argument(let argument): argument.usage
    case .either(let parts): parts.map(text).joined(separator: " | ")
    }
  }

  private static func bare(_ part: Part) -> String {
    let text = text(part)
    return text.hasPrefix("[") ? String(text.dropFirst().dropLast()) : text
  }
}
