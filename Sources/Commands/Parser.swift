import Rules

extension Verb {
  /// Parses the words after the program's name.
  ///
  /// The rules are those of the GNU programs: options and arguments in any order, `--name VALUE` and `--name=VALUE`,
  /// `-c VALUE` and `-c=VALUE`, several letters after one dash, and after `--` arguments only. A word that begins with
  /// a dash is never the value of the option before it; write `--limit=-5` instead. Names cannot be abbreviated.
  ///
  /// `--help` anywhere before `--` requests help, even if the rest of the line has problems; without it, `--version`
  /// requests the version in the same way.
  ///
  /// - Throws: every problem of the line.
  package func parse(_ words: [String]) throws(UsageProblems) -> Request {
    var reader = LineReader(self)
    for word in words { reader.take(word) }
    return try reader.end()
  }
}

/// Reads a command line word by word.
struct LineReader {
  /// The verbs from the program down to the named one.
  private(set) var path: [Verb]
  private(set) var options: [String: [String]] = [:]
  private(set) var arguments: [String] = []
  /// Options that wait for their values, in order; more than one only after letters such as `-cd`.
  private(set) var awaited: [(option: OptionDescription, spelling: String)] = []
  private(set) var isAfterDashes = false
  private var problems: [UsageProblem] = []
  /// The last option was unknown and probably takes a value, so the next word is that value and not an argument.
  private var passesOver = false

  init(_ program: Verb) { path = [program] }

  var verb: Verb { path[path.count - 1] }
  /// Whether the next word names a verb.
  var awaitsVerb: Bool { !verb.groups.isEmpty && arguments.isEmpty && !isAfterDashes }
  private var isHelp: Bool { path.count == 2 && verb.name == Verb.helpName }

  mutating func take(_ word: String) {
    if isAfterDashes { return argument(word) }
    let isOption = word.hasPrefix("-") && word != "-"
    if let (option, spelling) = awaited.first {
      awaited.removeFirst()
      if !isOption { return give(word, to: option, spelling) }
      let next = word == "--" || known(word) ? nil : word
      problems.append(.missingValue(option: spelling, metavariable: option.value ?? "", next: next))
      if next != nil { return }
    }
    if passesOver {
      passesOver = false
      if !isOption { return }
    }
    if word == "--" {
      isAfterDashes = true
    } else if word.hasPrefix("--") {
      long(word)
    } else if isOption {
      short(word)
    } else {
      argument(word)
    }
  }

  private mutating func argument(_ word: String) {
    if awaitsVerb {
      if let child = verb.child(word) { path.append(child) } else { unknownVerb(word) }
    } else {
      arguments.append(word)
    }
  }

  /// The words after an unknown verb cannot be checked, but `--help` and `--version` keep their meaning.
  private mutating func unknownVerb(_ word: String) {
    // The word may be a child verb, named without its parent.
    let parent = verb.shownChildren.first { $0.child(word)?.isHidden == false }
    let nearest = parent.map { "\($0.name) \(word)" } ?? nearestName(to: word, in: verb.shownChildren.map(\.name))
    problems.append(.unknownVerb(word, parent: path.dropFirst().map(\.name), nearest: nearest))
    arguments.append(word)
  }

  var hasUnknownVerb: Bool { !verb.groups.isEmpty && !arguments.isEmpty && !isAfterDashes }

  private func known(_ word: String) -> Bool {
    let name = word.drop { $0 == "-" }.prefix { $0 != "=" }
    return verb.allOptions.contains {
      word.hasPrefix("--") ? $0.name == name : $0.short.map { name == String($0) } ?? false
    }
  }

  private mutating func long(_ word: String) {
    let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let name = String(parts.first ?? "")
    guard let option = verb.allOptions.first(where: { $0.name == name }) else {
      return unknown("--\(name)", like: name, hasValue: parts.count > 1)
    }
    given(option, spelling: "--\(name)", parts.count > 1 ? String(parts[1]) : nil)
  }

  private mutating func short(_ word: String) {
    let parts = word.dropFirst().split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let letters = parts[0]
    let found = letters.map { letter in verb.allOptions.first { $0.short == letter } }
    guard !letters.isEmpty, !found.contains(where: { $0 == nil }), parts.count == 1 || letters.count == 1 else {
      return unknown(word, letters, found)
    }
    for (option, letter) in zip(found, letters) {
      given(option!, spelling: "-\(letter)", parts.count > 1 ? String(parts[1]) : nil)
    }
  }

  /// - Parameter found: the option for each letter after the dash; nil for a letter without one.
  private mutating func unknown(_ word: String, _ letters: Substring, _ found: [OptionDescription?]) {
    let nearest = letters.count > 2 ? nearestName(to: String(letters), in: verb.allShownOptions.map(\.name)) : nil
    if nearest == nil, letters.count > 1, let first = found[0], first.value != nil, let short = first.short {
      problems.append(
        .attachedValue(short: short, metavariable: first.value!, value: String(word.dropFirst(2))))
    } else if nearest == nil, word == "-\(letters)", found.contains(where: { $0 != nil }) {
      for (letter, option) in zip(letters, found) where option == nil {
        problems.append(.unknownOption("-\(letter)", nearest: nil))
      }
    } else {
      unknown(word, like: String(letters), hasValue: word.contains("="))
    }
  }

  private mutating func unknown(_ word: String, like name: String, hasValue: Bool) {
    if hasUnknownVerb { return }
    let nearest = nearestName(to: name, in: verb.allShownOptions.map(\.name))
    if awaitsVerb, nearest == nil {
      problems.append(.missingVerb(option: word))
      passesOver = !hasValue
      return
    }
    problems.append(.unknownOption(word, nearest: nearest.map { "--\($0)" }))
    passesOver = !hasValue && verb.allOptions.contains { $0.name == nearest && $0.value != nil }
  }

  private mutating func given(_ option: OptionDescription, spelling: String, _ value: String?) {
    switch (option.value, value) {
    case (nil, nil): options[option.name, default: []].append("")
    case (nil, let value?):
      // --help=1 requests help too.
      if option.name == Verb.help.described.name { options[option.name, default: []].append("") }
      problems.append(.unexpectedValue(option: spelling, value: value))
    case (let metavariable?, ""):
      problems.append(.missingValue(option: spelling, metavariable: metavariable, next: nil))
    case (.some, let value?): give(value, to: option, spelling)
    case (.some, nil): awaited.append((option, spelling))
    }
  }

  private mutating func give(_ value: String, to option: OptionDescription, _ spelling: String) {
    if option.isRight(value) {
      options[option.name, default: []].append(value)
    } else {
      problems.append(.wrongValue(name: spelling, expected: option.expected, found: value))
    }
  }

  func isGiven(_ option: Option<Bool>) -> Bool { options[option.described.name] != nil }

  /// What the whole line requests.
  mutating func end() throws(UsageProblems) -> Request {
    if isHelp { return .help(try helped()) }
    if isGiven(Verb.help) { return .help(path) }
    if isGiven(Verb.version) { return .version }
    for (option, spelling) in awaited {
      problems.append(.missingValue(option: spelling, metavariable: option.value ?? "", next: nil))
    }
    if verb.groups.isEmpty {
      let byName = distributed()
      guard problems.isEmpty else { throw UsageProblems(problems: problems, path: path) }
      return .run(ParsedLine(verb: verb, options: options, arguments: byName))
    }
    if problems.isEmpty { problems += arguments.map { .unexpectedArgument($0) } }
    guard problems.isEmpty else { throw UsageProblems(problems: problems, path: path) }
    // The program, or a verb with children, was named without a child.
    return .help(path)
  }

  /// The positional words, by the name of the argument that takes them.
  private mutating func distributed() -> [String: [String]] {
    var left = arguments[...]
    var byName: [String: [String]] = [:]
    for argument in verb.arguments {
      let taken = argument.isRepeated ? left : left.prefix(1)
      left = left.dropFirst(taken.count)
      if taken.isEmpty, argument.isRequired { problems.append(.missingArgument(argument.name)) }
      for word in taken where !argument.isRight(word) {
        problems.append(.wrongValue(name: argument.name, expected: argument.expected, found: word))
      }
      byName[argument.name] = Array(taken)
    }
    problems += left.map { .unexpectedArgument($0) }
    return byName
  }

  /// The path to the verb named after `help`.
  private mutating func helped() throws(UsageProblems) -> [Verb] {
    var asked = LineReader(path[0])
    if arguments.isEmpty, isGiven(Verb.help) { return path }
    for word in arguments { asked.take(word) }
    problems += asked.problems + asked.distributedForHelp()
    guard problems.isEmpty else { throw UsageProblems(problems: problems, path: asked.path) }
    return asked.path
  }

  /// Problems with the line when help is requested: the words after a verb without children.
  private func distributedForHelp() -> [UsageProblem] {
    verb.groups.isEmpty ? arguments.map { .unexpectedArgument($0) } : []
  }
}
