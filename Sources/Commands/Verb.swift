/// A verb of a program, or the program itself: everything that parsing, help, manual and completion know of it.
///
/// Nothing of a verb is said a second time elsewhere. Texts are plain: a blank line ends a paragraph, a line that begins with two
/// spaces stands as it is, `` `…` `` is something to type, and `name(5)` another page of the manual.
package struct Verb: Sendable {
  package typealias Run = @Sendable (ParsedLine) async throws -> Void

  package let name: String
  /// One sentence.
  package let about: String
  /// What else there is to know; may be empty.
  package let discussion: String
  package let options: [OptionDescription]
  package let arguments: [ArgumentDescription]
  /// Names of options and arguments of which one is given, or none; the synopsis shows them so.
  let alternatives: [[String]]
  let examples: [Example]
  package let groups: [VerbGroup]
  /// Left out of help, manual and completion.
  let isHidden: Bool
  private let hasVersion: Bool
  /// What the verb does; nil where one of its children has to be named.
  package let run: Run?

  /// A verb that does something.
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

  /// A verb whose children do something.
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

  /// What help, manual and completion tell of.
  var shownOptions: [OptionDescription] { options.filter { !$0.isHidden } }
  var allShownOptions: [OptionDescription] { allOptions.filter { !$0.isHidden } }

  func child(_ name: some StringProtocol) -> Verb? { children.first { $0.name == name } }

  /// Its own options, and those of every verb.
  var allOptions: [OptionDescription] {
    options + (hasVersion ? [Self.version.described] : []) + [Self.help.described]
  }

  static let help: Option<Bool> = .flag("help", short: "h", "Show this help.")
  static let version: Option<Bool> = .flag("version", "Show the version.")
}

/// Verbs that help shows together.
package struct VerbGroup: Sendable {
  /// Empty where a verb has one group only.
  let title: String
  let verbs: [Verb]

  package init(_ title: String, _ verbs: [Verb]) {
    self.title = title
    self.verbs = verbs
  }
}

/// A line to type, and what comes of it.
package struct Example: Sendable {
  let line: String
  let meaning: String

  package init(_ line: String, _ meaning: String) {
    self.line = line
    self.meaning = meaning
  }
}

extension Verb {
  /// `help VERB`, which every program with several verbs has; the parser answers it.
  package static let helpVerb = Verb(
    helpName, about: "Show help for the program, or for a verb.", arguments: [helpArgument], run: { _ in })
  static let helpName = "help"
  private static let helpArgument: Argument<[String]> = .any(
    .text("VERB", completion: .verbs), "The verb; of one with verbs of its own, both.")
}
