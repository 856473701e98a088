/// Text of a verb in the mdoc(7) language: `--name`, `` `…` `` and `name(5)`, the notation that `Verb` describes,
/// become macros.
struct MarkedText {
  /// Lines of mdoc.
  private(set) var lines: [String] = []
  private var line = ""

  init(_ text: String) {
    for word in Self.words(text) { add(word) }
    end()
  }

  private mutating func add(_ word: String) {
    if let macro = Self.macro(word) {
      end()
      lines.append(macro)
      return
    }
    let isEnd = line.hasSuffix(".") || line.hasSuffix("?") || line.hasSuffix(":")
    let escaped = Mdoc.escaped(word)
    if !line.isEmpty, isEnd || line.count + escaped.count > 98 { end() }
    line += (line.isEmpty ? "" : " ") + escaped
  }

  private mutating func end() {
    if !line.isEmpty { lines.append(line.hasPrefix(".") ? "\\&" + line : line) }
    line = ""
  }

  /// Splits text into words; text in backticks is one word, spaces included.
  private static func words(_ text: String) -> [String] {
    var words: [String] = []
    var word = ""
    var isCode = false
    for character in text {
      if character == "`" { isCode.toggle() }
      if character.isWhitespace, !isCode {
        if !word.isEmpty { words.append(word) }
        word = ""
      } else {
        word.append(character)
      }
    }
    return word.isEmpty ? words : words + [word]
  }

  /// The macro line for a word in the notation; nil for a plain word.
  private static func macro(_ word: String) -> String? {
    guard let match = word.wholeMatch(of: /(.+?)([.,;:?!]*)/) else { return nil }
    let core = String(match.output.1)
    let punctuation = match.output.2.map { " \($0)" }.joined()
    if let code = core.wholeMatch(of: /`(.+)`/) {
      return
        ".Ql \(code.output.1.split(separator: " ").map { argument(String($0)) }.joined(separator: " "))\(punctuation)"
    }
    if let long = core.wholeMatch(of: /--([a-z][a-z-]*)/) { return ".Fl Fl \(long.output.1)\(punctuation)" }
    if let short = core.wholeMatch(of: /-([a-z])/) { return ".Fl \(short.output.1)\(punctuation)" }
    if let page = core.wholeMatch(of: /([a-z][a-z.-]+)\(([1-8])\)/) {
      return ".Xr \(page.output.1) \(page.output.2)\(punctuation)"
    }
    return nil
  }

  /// On a macro line a short word may be a macro itself, and punctuation stays outside the marked text.
  static func argument(_ word: String) -> String { (word.count <= 3 ? "\\&" : "") + Mdoc.escaped(word) }
}
