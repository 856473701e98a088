/// Text from outside as a terminal and a log may show it: the only way by which text of events, the server, plugins and files gets there.
///
/// Such text could move an operator's cursor, change what the terminal shows, or forge a second line. So characters that act on a terminal
/// are written as escapes: controls, C1 controls (U+009B begins a sequence as ESC [ does), line and paragraph separators, and the marks
/// that turn the direction of what follows.
package func printable(_ text: String) -> String {
  text.unicodeScalars.allSatisfy(\.isPrintable)
    ? text
    : text.unicodeScalars.reduce(into: "") { result, scalar in
      switch scalar {
      case "\n": result += "\\n"
      case _ where scalar.isPrintable: result.unicodeScalars.append(scalar)
      default: result += "\\u{\(String(scalar.value, radix: 16))}"
      }
    }
}

/// The same for text in lines of our own: line breaks and tabs stay.
package func printableLines(_ text: String) -> String {
  text.split(separator: "\n", omittingEmptySubsequences: false)
    .map {
      $0.split(separator: "\t", omittingEmptySubsequences: false).map { printable(String($0)) }.joined(separator: "\t")
    }
    .joined(separator: "\n")
}

extension Unicode.Scalar {
  /// Whether it acts on nothing but its own place.
  package var isPrintable: Bool {
    switch value {
    case 0..<0x20, 0x7F..<0xA0: false
    // Arabic letter mark, marks of direction, separators of lines and paragraphs, embeddings, overrides, isolates.
    case 0x061C, 0x200E, 0x200F, 0x2028, 0x2029, 0x202A...0x202E, 0x2066...0x2069: false
    default: true
    }
  }
}
