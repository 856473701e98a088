/// A manual page in the making, in the mdoc(7) language.
package struct Mdoc {
  package private(set) var text: String

  package init(title: String, section: Int, about: String) {
    text = """
      .\\" Made by `tidemark manual`; do not change by hand.
      .Dd November 21, 2026
      .Dt \(title.uppercased()) \(section)
      .Os
      .Sh NAME
      .Nm \(title)
      .Nd \(Self.escaped(about))

      """
  }

  package mutating func section(_ name: String) { text += ".Sh \(name)\n" }

  package mutating func subsection(_ name: String) { text += ".Ss \(Self.escaped(name))\n" }

  package mutating func paragraph(_ words: String) { text += ".Pp\n\(Self.filled(words))\n" }

  /// The first paragraph of a section, which needs no macro before it.
  package mutating func lead(_ words: String) { text += "\(Self.filled(words))\n" }

  package mutating func beginList() { text += ".Bl -tag -width Ds\n" }
  package mutating func item(_ name: String, _ words: String) {
    // On a macro's line short words may be macros themselves: `No` is one.
    let name = name.split(separator: " ").map { ($0.count <= 3 ? "\\&" : "") + Self.escaped(String($0)) }
    text += ".It Ic \(name.joined(separator: " "))\n\(Self.filled(words))\n"
  }
  package mutating func more(_ words: String) { text += ".Pp\n\(Self.filled(words))\n" }
  package mutating func endList() { text += ".El\n" }

  package mutating func seeAlso(_ pages: [(name: String, section: Int)]) {
    text += ".Sh SEE ALSO\n"
    for (index, page) in pages.enumerated() {
      text += ".Xr \(page.name) \(page.section)\(index < pages.count - 1 ? " ," : "")\n"
    }
  }

  /// Lines of macros.
  mutating func macros(_ lines: [String]) { text += lines.map { $0 + "\n" }.joined() }

  /// A sentence a line, as mdoc wants it, broken at 100 columns.
  private static func filled(_ words: String) -> String {
    var lines: [String] = []
    var line = ""
    for word in words.split(whereSeparator: { $0 == " " || $0 == "\n" }).map({ escaped(String($0)) }) {
      let isEnd = line.hasSuffix(".") || line.hasSuffix("?") || line.hasSuffix(":")
      if !line.isEmpty, isEnd || line.count + word.count > 98 {
        lines.append(line)
        line = ""
      }
      line += (line.isEmpty ? "" : " ") + word
    }
    if !line.isEmpty { lines.append(line) }
    return lines.map { $0.hasPrefix(".") || $0.hasPrefix("'") ? "\\&" + $0 : $0 }.joined(separator: "\n")
  }

  static func escaped(_ text: String) -> String {
    text.reduce(into: "") { result, character in
      switch character {
      case "\\": result += "\\e"
      case "\"": result += "\\(dq"
      case "`": result += "\\(ga"
      case "'": result += "\\(aq"
      case "-": result += "\\-"
      case "…": result += "..."
      default: result.append(character)
      }
    }
  }
}
