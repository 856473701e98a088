/// The parts of a program's manual page that are generated from its verbs.
extension Mdoc {
  /// SYNOPSIS: one line per verb.
  package mutating func synopsis(of program: Verb) {
    section("SYNOPSIS")
    for (path, verb) in Self.callable(program) {
      macros([".Nm"] + (path.isEmpty ? [] : [".Cm \(path)"]))
      macros(Synopsis(verb).parts.map { ".\(Self.call($0))" })
    }
  }

  /// Every verb with its options, in the same groups as in help.
  ///
  /// - Parameter shared: options of several verbs; each is described once, at the end.
  package mutating func verbs(of program: Verb, shared: [any DescribedOption]) {
    let common = [Verb.help.described, Verb.version.described]
    let shared = shared.map(\.described)
    for group in program.groups {
      subsection(group.title)
      beginList()
      for verb in group.verbs where !verb.isHidden { item(verb, "", shared) }
      endList()
    }
    subsection("Options of several verbs")
    beginList()
    for option in shared + common { self.option(option) }
    endList()
  }

  /// EXAMPLES of all verbs.
  package mutating func examples(of program: Verb) {
    section("EXAMPLES")
    let examples = program.examples + Self.callable(program).flatMap(\.verb.examples)
    for (index, example) in examples.enumerated() {
      if index > 0 { macros([".Pp"]) }
      marked(example.meaning)
      macros([".Dl $ \(Self.escaped(example.line))"])
    }
  }

  package mutating func variable(_ names: [String], _ words: String) {
    macros([".It Ev \(names.joined(separator: " , "))"])
    marked(words)
  }

  package mutating func file(_ path: String, _ words: String) {
    macros([".It Pa \(Self.escaped(path))"])
    marked(words)
  }

  package mutating func status(_ number: Int, _ words: String) {
    macros([".It \(number)"])
    marked(words)
  }

  /// One or more paragraphs in the notation that `Verb` describes; the first gets no paragraph macro.
  package mutating func marked(_ text: String) {
    for (index, paragraph) in Paragraph.all(of: text).enumerated() {
      switch paragraph {
      case .filled(let words): macros((index > 0 ? [".Pp"] : []) + MarkedText(words).lines)
      case .literal(let lines):
        macros([".Bd -literal -offset indent"] + lines.map { Self.escaped($0) } + [".Ed"])
      }
    }
  }

  private mutating func item(_ verb: Verb, _ parent: String, _ shared: [OptionDescription]) {
    macros([".It Cm \(parent)\(verb.name)"])
    marked(verb.about + (verb.discussion.isEmpty ? "" : "\n\n\(verb.discussion)"))
    // Options that all its children share are described with the parent.
    let described = verb.groups.isEmpty ? verb.shownOptions : Self.common(to: verb.shownChildren)
    let options = described.filter { !$0.isIn(shared) }
    if !options.isEmpty || !verb.arguments.isEmpty {
      beginList()
      for argument in verb.arguments {
        macros([".It Ar \(argument.name.lowercased())\(argument.isRepeated ? " ..." : "")"])
        marked(argument.wholeMeaning)
      }
      for option in options { self.option(option) }
      endList()
    }
    for child in verb.shownChildren { item(child, "\(parent)\(verb.name) ", shared + options) }
  }

  private static func common(to verbs: [Verb]) -> [OptionDescription] {
    guard verbs.count > 1 else { return [] }
    return verbs[0].shownOptions.filter { option in verbs.allSatisfy { option.isIn($0.shownOptions) } }
  }

  private mutating func option(_ option: OptionDescription) {
    let short = option.short.map { "Fl \($0) , " } ?? ""
    let value = option.value.map { " Ar \($0.lowercased())" } ?? ""
    macros([".It \(short)Fl Fl \(option.name)\(value)"])
    marked(option.wholeMeaning)
  }

  /// The verbs that can be run, each with its path below the program.
  private static func callable(_ verb: Verb, _ path: String = "") -> [(path: String, verb: Verb)] {
    if verb.groups.isEmpty { return [(path, verb)] }
    return verb.shownChildren.flatMap { callable($0, path.isEmpty ? $0.name : "\(path) \($0.name)") }
  }

  private static func call(_ part: Synopsis.Part) -> String {
    switch part {
    case .option(let option): "Op \(bare(option))"
    case .argument(let argument): "\(argument.isRequired ? "" : "Op ")\(bare(argument))"
    case .either(let parts):
      "Op "
        + parts.map { part in
          switch part {
          case .option(let option): bare(option)
          case .argument(let argument): bare(argument)
          case .either: call(part)
          }
        }.joined(separator: " | ")
    }
  }

  private static func bare(_ option: OptionDescription) -> String {
    let name = option.short.map { "Fl \($0)" } ?? "Fl Fl \(option.name)"
    return name + (option.value.map { " Ar \($0.lowercased())\(option.isRepeated ? " ..." : "")" } ?? "")
  }

  private static func bare(_ argument: ArgumentDescription) -> String {
    "Ar \(argument.name.lowercased())\(argument.isRepeated ? " ..." : "")"
  }
}

extension OptionDescription {
  /// Whether the list describes this option with the same meaning.
  fileprivate func isIn(_ options: [OptionDescription]) -> Bool {
    options.contains { $0.name == name && $0.meaning == meaning }
  }
}
