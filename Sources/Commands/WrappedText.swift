/// Text wrapped to a limited width. Widths count characters; all our texts use one column per character.
struct WrappedText {
  let width: Int
  private(set) var lines: [String] = []

  /// - Parameter width: the longest line allowed; only a single longer word exceeds it.
  init(width: Int) { self.width = width }

  /// Adds words, filling each line.
  ///
  /// - Parameters:
  ///   - words: kept whole, even if they contain spaces.
  ///   - first: the beginning of the first line.
  ///   - indent: spaces before all other lines.
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

  /// Adds a line as it is, regardless of its length.
  mutating func verbatim(_ line: String) { lines.append(line) }

  /// Adds an empty line before the next text, unless there is one already.
  mutating func gap() { if lines.last.map({ !$0.isEmpty }) ?? false { lines.append("") } }

  var text: String { lines.joined(separator: "\n") }
}

/// A paragraph of a verb's texts.
enum Paragraph: Equatable {
  case filled(String)
  /// Lines that are not wrapped.
  case literal([String])

  /// Parses the notation that `Verb` describes.
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
