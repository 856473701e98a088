/// A command line without problems: which verb, and what was given to it.
package struct ParsedLine: Sendable {
  package let verb: Verb
  let options: [String: [String]]
  let arguments: [String: [String]]

  /// What was given for an option of the verb, or its default.
  package subscript<Given>(_ option: Option<Given>) -> Given {
    let name = option.described.name
    precondition(verb.options.contains { $0.name == name }, "\(verb.name) has no option --\(name)")
    return option.read(options[name] ?? [])
  }

  package subscript<Given>(_ argument: Argument<Given>) -> Given {
    let name = argument.described.name
    precondition(verb.arguments.contains { $0.name == name }, "\(verb.name) has no argument \(name)")
    return argument.read(arguments[name] ?? [])
  }
}

/// What a command line asks for.
package enum Request: Sendable {
  /// Help for the last of these verbs; the first is the program.
  case help([Verb])
  case version
  case run(ParsedLine)
}

/// A command line that asks for nothing that can be done.
package struct UsageProblems: Error, Sendable {
  /// Every one, in the order of the words.
  package let problems: [UsageProblem]
  /// The verb that was meant, from the program on, as far as the line names it.
  package let path: [Verb]

  /// A line a problem, and one that says where help is.
  package var lines: [String] {
    let program = path[0].name
    let names = path.dropFirst().map(\.name)
    let way = path[0].groups.isEmpty ? "\(program) --help" : (["\(program) help"] + names).joined(separator: " ")
    return problems.map { "\(program): \($0)" } + ["See '\(way)'."]
  }
}
