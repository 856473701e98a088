/// Help for a program or one of its verbs, laid out for a terminal.
package struct HelpPage {
  private let path: [Verb]
  private var page: WrappedText

  /// Wider lines are hard to read.
  package static let widest = 120
  /// Below this width a meaning is printed under its name, not beside it.
  private static let narrowest = 56
  /// The longest name that has its meaning on the same line.
  private static let longestLabel = 24

  /// - Parameters:
  ///   - path: the verbs from the program down to the one to explain.
  ///   - width: the terminal's width, in columns.
  package init(_ path: [Verb], width: Int) {
    self.path = path
    page = WrappedText(width: max(20, min(width, Self.widest)))
    write()
  }

  package var text: String { page.text }

  private var isNarrow: Bool { page.width < Self.narrowest }

  private var verb: Verb { path[path.count - 1] }

  private mutating func write() {
    let names = path.map(\.name).joined(separator: " ")
    let words = verb.groups.isEmpty ? Synopsis(verb).words : ["VERB ..."]
    page.add(
      words, first: "USAGE: \(names)\(words.isEmpty ? "" : " ")", indent: isNarrow ? 6 : min(names.count + 8, 23))
    page.gap()
    page.add(verb.about)
    for paragraph in Paragraph.all(of: verb.discussion) {
      page.gap()
      switch paragraph {
      case .filled(let words): page.add(words)
      case .literal(let lines): for line in lines { literal(line) }
      }
    }
    list("ARGUMENTS", verb.arguments.map { ($0.name, $0.wholeMeaning) })
    list("OPTIONS", verb.allShownOptions.map { ($0.label, $0.wholeMeaning) })
    verbs()
    examples()
  }

  private mutating func verbs() {
    guard !verb.groups.isEmpty else { return }
    page.gap()
    page.verbatim("SUBCOMMANDS:")
    for group in verb.groups {
      let shown = group.verbs.filter { !$0.isHidden }
      if !group.title.isEmpty {
        page.gap()
        page.add(group.title)
      }
      rows(shown.map { ($0.name, $0.about) })
    }
    page.gap()
    let names = (path[0].name + " help " + path.dropFirst().map { $0.name + " " }.joined())
    page.add("See '\(names)VERB' for the full description of a verb.")
  }

  private mutating func examples() {
    guard !verb.examples.isEmpty else { return }
    page.gap()
    page.verbatim("EXAMPLES:")
    for example in verb.examples {
      literal(example.line)
      page.add(example.meaning, indent: 6)
    }
  }

  /// A line to type; its spaces are kept if it fits.
  private mutating func literal(_ line: String) {
    if line.count + 2 <= page.width { page.verbatim("  " + line) } else { page.add(line, first: "  ", indent: 6) }
  }

  private mutating func list(_ title: String, _ items: [(name: String, meaning: String)]) {
    guard !items.isEmpty else { return }
    page.gap()
    page.verbatim("\(title):")
    rows(items)
  }

  private mutating func rows(_ items: [(name: String, meaning: String)]) {
    let longest = items.map(\.name.count).filter { $0 <= Self.longestLabel }.max() ?? 0
    let column = isNarrow ? 6 : 2 + longest + 2
    for (name, meaning) in items {
      if isNarrow || name.count > longest {
        page.add([name], first: "  ")
        page.add(meaning, indent: column)
      } else {
        let padding = String(repeating: " ", count: column - 2 - name.count)
        page.add(meaning, first: "  \(name)\(padding)", indent: column)
      }
    }
  }
}
