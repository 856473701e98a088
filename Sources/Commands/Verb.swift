/// A verb of a program, or the program itself. Parsing, help, manual and completion all read this one description.
///
/// Texts are plain: a blank line ends a paragraph, a line that begins with two spaces is printed as it is, `` `…` ``
/// marks text to type, and `name(5)` is another manual page.
package struct Verb: Sendable {
  package typealias Run = @Sendable (ParsedLine) async throws -> Void

  package let name: String
  /// One sentence.
  package let about: String
  /// Further explanation; may be empty.
  package let discussion: String
  package let options: [OptionDescription]
  package let arguments: [ArgumentDescription]
  /// Groups of options and arguments that exclude each other; the synopsis shows each group as alternatives.
  let alternatives: [[String]]
  let examples: [Example]
  package let groups: [VerbGroup]
  /// Left out of help, manual and completion.
  let isHidden: Bool
  private let hasVersion: Bool
  /// What the verb does; nil if the line has to name one of its children.
  package let run: Run?

  /// A verb without children.
  ///
  /// - Parameter hasVersion: whether `--version` is among its options.
  package init(
    _ name: String, about: String, discussion: String = "", options: [any DescribedOption] = [],
    arguments: [any DescribedArgument] = [], alternatives: [[String]] = [], examples: [Example] = [],
    isHidden: Bool = false, hasVersion: Bool = true, run: @escaping Run
  ) {
    self.name = name
    self.about = about
    self.discussion = discussion
    self.options = options.map(\.described)
    self.arguments = arguments.map(\.described)
    self.alternatives = alternatives
    self.examples = examples
    groups = []
    self.isHidden = isHidden
    self.hasVersion = hasVersion
    self.run = run
    precondition(self.arguments.dropLast().allSatisfy { !$0.isRepeated }, "only the last argument takes several words")
  }

  /// A verb that only groups its children.
  package init(
    _ name: String, about: String, discussion: String = "", examples: [Example] = [], groups: [VerbGroup]
  ) {
    self.name = name
    self.about = about
    self.discussion = discussion
    options = []
    arguments = []
    alternatives = []
    self.examples = examples
    self.groups = groups
    isHidden = false
    hasVersion = true
    run = nil
  }

  package var children: [Verb] { groups.flatMap(\.verbs) }
  var shownChildren: [Verb] { children.filter { !$0.isHidden } }

  /// The options that help, manual and completion show.
  var shownOptions: [OptionDescription] { options.filter { !$0.isHidden } }
  var allShownOptions: [OptionDescription] { allOptions.filter { !$0.isHidden } }

  func child(_ name: some StringProtocol) -> Verb? { children.first { $0.name == name } }

  /// Its own options, and those that every verb has.
  var allOptions: [OptionDescription] {
    options + (hasVersion ? [Self.version.described] : []) + [Self.help.described]
  }

  static let help: Option<Bool> = .flag("help", short: "h", "Show this help.")
  static let version: Option<Bool> = .flag("version", "Show the version.")
}

/// Verbs that help lists together.
package struct VerbGroup: Sendable {
  /// Empty if the verb has only one group.
  let title: String
  let verbs: [Verb]

  package init(_ title: String, _ verbs: [Verb]) {
    self.title = title
    self.verbs = verbs
  }
}

/// A line to type, and what it does.
package struct Example: Sendable {
  let line: String
  let meaning: String

  package init(_ line: String, _ meaning: String) {
    self.line = line
    self.meaning = meaning
  }
}

extension Verb {
  /// `help VERB`, part of every program with several verbs; the parser handles it.
  package static let helpVerb = Verb(
    helpName, about: "Show help for the program, or for a verb.", arguments: [helpArgument], run: { _ in })
  static let helpName = "help"
  private static let helpArgument: Argument<[String]> = .any(
    .text("VERB", completion: .verbs), "The verb; for a verb within a verb, both names.")
}
