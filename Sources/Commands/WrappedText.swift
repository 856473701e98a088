/// A text in lines of a limited width. Widths are in characters; every text of ours has one column for each.
struct WrappedText {
  let width: Int
  private(set) var lines: [String] = []

  /// - Parameter width: no line is longer, unless a single word is.
  init(width: Int) { self.width = width }

  /// Adds words, as many a line as there is room for.
  ///
  /// - Parameters:
  ///   - words: kept whole, also where they have spaces.
  ///   - first: what the first line begins with.
  ///   - indent: spaces in front of all other lines.
  mutating func add(_ words: some Sequence<some StringProtocol>, first: String = "", indent: Int = 0) {
    var line = first
    var isEmpty = true
    for word in words {
      let length = line.count + (isEmpty ? 0 : 1) + word.count
      if length > width, line.contains(where: { $0 != " " }) {
        while line.last == " " { line.removeLast() }
        lines.append(line)
        line = String(repeating: " ", count: indent)
        isEmpty = true
      }
      line += (isEmpty ? "" : " ") + word
      isEmpty = false
    }
    lines.append(line)
  }

  mutating func add(_ text: String, first: String? = nil, indent: Int = 0) {
    add(text.split { $0.isWhitespace }, first: first ?? String(repeating: " ", count: indent), indent: indent)
  }

  /// As it is, whatever its length.
  mutating func verbatim(_ line: String) { lines.append(line) }

  /// An empty line between what is there and what follows.
  mutating func gap() { if lines.last.map({ !$0.isEmpty }) ?? false { lines.append("") } }

  var text: String { lines.joined(separator: "\n") }
}

/// A paragraph of a verb's texts.
enum Paragraph: Equatable {
  case filled(String)
  /// Lines that stand as they are.
  case literal([String])

  /// Reads the notation that `Verb` describes.
  static func all(of text: String) -> [Paragraph] {
    var paragraphs: [Paragraph] = []
    var words: [Substring] = []
    var literal: [String] = []
    func endWords() {
      if !words.isEmpty { paragraphs.append(.filled(words.joined(separator: " "))) }
      words = []
    }
    func endLiteral() {
      if !literal.isEmpty { paragraphs.append(.literal(literal)) }
      literal = []
    }
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("  ") {
        endWords()
        literal.append(String(line.dropFirst(2)))
      } else {
        endLiteral()
        if line.isEmpty { endWords() } else { words.append(line) }
      }
    }
    endWords()
    endLiteral()
    return paragraphs
  }
}
