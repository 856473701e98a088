/// Cuts SQL text into tokens, as PostgreSQL's own scanner does: enough to tell code from literals and comments.
///
/// Assumes that `standard_conforming_strings` is on. Works on UTF-8 bytes; every byte above ASCII is part of a word. Each byte of an
/// operator is a token of its own, except `::` and `:=`.
struct SQLLexer {
  enum Kind: Hashable {
    case space
    case comment
    /// A quoted literal of any kind, dollar quotes included.
    case literal
    case quotedIdentifier
    /// A keyword or an identifier.
    case word
    case number
    /// `$1`.
    case parameter
    case cast
    case assignment
    case symbol(UInt8)

    /// Neither white space nor a comment.
    var isSignificant: Bool { self != .space && self != .comment }
  }

  struct Token {
    var kind: Kind
    var range: Range<Int>
  }

  let bytes: [UInt8]
  private(set) var position = 0

  init(_ text: String) {
    bytes = Array(text.utf8)
  }

  func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

  /// Lines before a position.
  func line(at position: Int) -> Int { bytes[..<position].count { $0 == UInt8(ascii: "\n") } }

  /// The next token, or nil at the end. Throws at an unterminated quote or comment, which then extends to the end of the text.
  mutating func next() throws(SQLTextError) -> Token? {
    guard position < bytes.count else { return nil }
    let start = position
    let kind = try scan()
    return Token(kind: kind, range: start..<position)
  }

  private mutating func scan() throws(SQLTextError) -> Kind {
    let byte = bytes[position]
    switch byte {
    case UInt8(ascii: " "), 0x09...0x0D:
      skip { $0.isSpace }
      return .space
    case UInt8(ascii: "-") where peek(1) == UInt8(ascii: "-"):
      skip { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
      return .comment
    case UInt8(ascii: "/") where peek(1) == UInt8(ascii: "*"):
      try skipBlockComment()
      return .comment
    case UInt8(ascii: "'"):
      try skipQuoted("'", "string literal", escapes: false)
      return .literal
    case UInt8(ascii: "\""):
      try skipQuoted("\"", "quoted identifier", escapes: false)
      return .quotedIdentifier
    case UInt8(ascii: "$"):
      return try scanDollar()
    case UInt8(ascii: "0")...UInt8(ascii: "9"):
      scanNumber()
      return .number
    case UInt8(ascii: ":") where peek(1) == UInt8(ascii: ":"):
      position += 2
      return .cast
    case UInt8(ascii: ":") where peek(1) == UInt8(ascii: "="):
      position += 2
      return .assignment
    case _ where byte.startsWord:
      return try scanWord()
    default:
      position += 1
      return .symbol(byte)
    }
  }

  func peek(_ offset: Int) -> UInt8? {
    position + offset < bytes.count ? bytes[position + offset] : nil
  }

  private mutating func skip(while matches: (UInt8) -> Bool) {
    while position < bytes.count, matches(bytes[position]) { position += 1 }
  }

  /// A word, unless it is the prefix of a literal: E'…', B'…', X'…', N'…', U&'…', U&"…".
  private mutating func scanWord() throws(SQLTextError) -> Kind {
    let first = bytes[position] | 0x20
    if peek(1) == UInt8(ascii: "'"),
      [UInt8(ascii: "e"), UInt8(ascii: "b"), UInt8(ascii: "x"), UInt8(ascii: "n")].contains(first)
    {
      position += 1
      try skipQuoted("'", "string literal", escapes: first == UInt8(ascii: "e"))
      return .literal
    }
    if first == UInt8(ascii: "u"), peek(1) == UInt8(ascii: "&") {
      if peek(2) == UInt8(ascii: "'") {
        position += 2
        try skipQuoted("'", "string literal", escapes: false)
        return .literal
      }
      if peek(2) == UInt8(ascii: "\"") {
        position += 2
        try skipQuoted("\"", "quoted identifier", escapes: false)
        return .quotedIdentifier
      }
    }
    skip { $0.continuesWord }
    return .word
  }

  private mutating func scanNumber() {
    skip { $0.continuesWord && $0 != UInt8(ascii: "$") }
    if peek(0) == UInt8(ascii: "."), peek(1) != UInt8(ascii: ".") {
      position += 1
      skip { $0.continuesWord && $0 != UInt8(ascii: "$") }
    }
  }

  /// From the opening quote through the closing one; a doubled quote is part of the text. A literal continues in the next one if only
  /// white space with a line break separates them, which matters to the escapes in it.
  private mutating func skipQuoted(_ quote: Unicode.Scalar, _ name: String, escapes: Bool) throws(SQLTextError) {
    let start = position
    position += 1
    while position < bytes.count {
      let byte = bytes[position]
      if escapes, byte == UInt8(ascii: "\\") {
        position += 2
      } else if byte != UInt8(ascii: quote) {
        position += 1
      } else if peek(1) == UInt8(ascii: quote) {
        position += 2
      } else {
        position += 1
        if escapes, let further = continuation() {
          position = further + 1
          continue
        }
        return
      }
    }
    throw unterminated(name, from: start)
  }

  /// The position at which the literal that just ended continues, if it does.
  private func continuation() -> Int? {
    var further = position
    var sawLineBreak = false
    while further < bytes.count, bytes[further].isSpace {
      sawLineBreak = sawLineBreak || bytes[further] == UInt8(ascii: "\n") || bytes[further] == UInt8(ascii: "\r")
      further += 1
    }
    return sawLineBreak && further < bytes.count && bytes[further] == UInt8(ascii: "'") ? further : nil
  }

  private mutating func skipBlockComment() throws(SQLTextError) {
    let start = position
    var depth = 0
    repeat {
      switch (peek(0), peek(1)) {
      case (UInt8(ascii: "/"), UInt8(ascii: "*")):
        depth += 1
        position += 2
      case (UInt8(ascii: "*"), UInt8(ascii: "/")):
        depth -= 1
        position += 2
      case (nil, _):
        throw unterminated("comment", from: start)
      default:
        position += 1
      }
    } while depth > 0
  }

  /// `$1`, `$$ … $$`, `$tag$ … $tag$`, or a lone dollar sign.
  private mutating func scanDollar() throws(SQLTextError) -> Kind {
    let start = position
    position += 1
    if let digit = peek(0), digit.isDigit {
      skip { $0.isDigit }
      return .parameter
    }
    if let first = peek(0), first.startsWord { skip { $0.continuesWord && $0 != UInt8(ascii: "$") } }
    guard peek(0) == UInt8(ascii: "$") else {
      position = start + 1
      return .symbol(UInt8(ascii: "$"))
    }
    position += 1
    let tag = bytes[start..<position]
    while position < bytes.count {
      if bytes[position] == UInt8(ascii: "$"), bytes[position...].starts(with: tag) {
        position += tag.count
        return .literal
      }
      position += 1
    }
    throw unterminated("dollar-quoted string", from: start)
  }

  private mutating func unterminated(_ name: String, from start: Int) -> SQLTextError {
    position = bytes.count
    return SQLTextError(message: "unterminated \(name)", line: line(at: start))
  }
}

extension UInt8 {
  fileprivate var isSpace: Bool { self == UInt8(ascii: " ") || (0x09...0x0D).contains(self) }
  fileprivate var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }

  var startsWord: Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self | 0x20) || self == UInt8(ascii: "_") || self >= 0x80
  }

  var continuesWord: Bool { startsWord || isDigit || self == UInt8(ascii: "$") }
}
