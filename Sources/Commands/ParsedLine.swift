/// A command line without problems: the verb, and the options and arguments given to it.
package struct ParsedLine: Sendable {
  package let verb: Verb
  let options: [String: [String]]
  let arguments: [String: [String]]

  /// The value given for an option of the verb, or its default.
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

/// What a command line requests.
package enum Request: Sendable {
  /// Help for the last of these verbs; the first is the program.
  case help([Verb])
  case version
  case run(ParsedLine)
}

/// A command line that cannot be carried out.
package struct UsageProblems: Error, Sendable {
  /// Every problem, in the order of the words.
  package let problems: [UsageProblem]
  /// The path from the program to the verb, as far as the line names it.
  package let path: [Verb]

  /// One line per problem, and a last one that points to the help.
  package var lines: [String] {
    let program = path[0].name
    let names = path.dropFirst().map(\.name)
    let way = path[0].groups.isEmpty ? "\(program) --help" : (["\(program) help"] + names).joined(separator: " ")
    return problems.map { "\(program): \($0)" } + ["See '\(way)'."]
  }
}
