/// Prepares an operator's SQL for the server: splits it into statements and turns its names into parameters.
package enum SQLText {
  /// The statements of a script: split at semicolons, without comments around them and without empty ones.
  ///
  /// `line` counts the lines before the statement's first significant character, from 0. A semicolon within parentheses
  /// (`CREATE RULE … DO (…; …)`) or within the `BEGIN ATOMIC … END` body of a CREATE FUNCTION or CREATE PROCEDURE does not
  /// split. An unterminated quote or comment makes the rest of the text one statement, which `bind` or the server refuses.
  package static func statements(in text: String) -> [(text: String, line: Int)] {
    var lexer = SQLLexer(text)
    var statements: [(text: String, line: Int)] = []
    var current: Range<Int>?
    var depth = 0
    var body = AtomicBody()

    func finish() {
      if let range = current { statements.append((lexer.text(range), lexer.line(at: range.lowerBound))) }
      current = nil
      depth = 0
      body = AtomicBody()
    }

    while true {
      let start = lexer.position
      let token: SQLLexer.Token
      do {
        guard let next = try lexer.next() else { break }
        token = next
      } catch {
        // An unterminated comment says nothing about the statement before it, but must not be lost either.
        current = (current?.lowerBound ?? start)..<lexer.bytes.count
        break
      }
      guard token.kind.isSignificant else { continue }
      switch token.kind {
      case .symbol(UInt8(ascii: ";")) where depth == 0 && !body.isOpen:
        finish()
        continue
      case .symbol(UInt8(ascii: "(")): depth += 1
      case .symbol(UInt8(ascii: ")")): depth = max(0, depth - 1)
      case .word where depth == 0: body.meet(lexer.text(token.range).uppercased())
      default: break
      }
      current = (current?.lowerBound ?? token.range.lowerBound)..<token.range.upperBound
    }
    finish()
    return statements
  }

  /// The texts of the literals in plain quotes, each without its quotes.
  package static func literals(in text: String) -> [String] {
    var lexer = SQLLexer(text)
    var literals: [String] = []
    while let token = try? lexer.next() {
      guard token.kind == .literal else { continue }
      let literal = lexer.text(token.range)
      guard literal.count >= 2, literal.hasPrefix("'"), literal.hasSuffix("'") else { continue }
      literals.append(String(literal.dropFirst().dropLast()).replacing("''", with: "'"))
    }
    return literals
  }

  /// The first word in upper case, past comments and parentheses: `SELECT`, `COMMIT`…; empty if there is none.
  package static func firstKeyword(of text: String) -> String { firstKeywords(of: text, limit: 1).first ?? "" }

  /// Whether PostgreSQL plans a statement of this kind, and EXPLAIN takes it.
  package static func isPlanned(_ text: String) -> Bool {
    ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE"].contains(firstKeyword(of: text))
  }

  /// The first words of a statement, in upper case, at most `limit` of them.
  package static func firstKeywords(of text: String, limit: Int) -> [String] {
    var lexer = SQLLexer(text)
    var words: [String] = []
    while words.count < limit, let token = try? lexer.next() {
      switch token.kind {
      case .space, .comment, .symbol(UInt8(ascii: "(")), .symbol(UInt8(ascii: ";")): continue
      case .word: words.append(lexer.text(token.range).uppercased())
      default: return words
      }
    }
    return words
  }
}

/// What is wrong with SQL text.
package struct SQLTextError: Error, Hashable, Sendable {
  package var message: String
  /// The lines of the text before the error, from 0; the caller adds the line on which the text begins.
  package var line: Int

  package init(message: String, line: Int) {
    self.message = message
    self.line = line
  }
}

/// Follows `CREATE FUNCTION … BEGIN ATOMIC …; …; END`, the one place where semicolons outside parentheses do not split.
///
/// As psql does it: within such a body CASE opens what END closes.
private struct AtomicBody {
  private var words = 0
  private var isRoutine = false
  private var last = ""
  private var depth = 0

  var isOpen: Bool { depth > 0 }

  mutating func meet(_ word: String) {
    words += 1
    switch word {
    case "CREATE" where words == 1: isRoutine = true
    case "OR", "REPLACE": break
    case "FUNCTION", "PROCEDURE": break
    case "ATOMIC" where isRoutine && last == "BEGIN": depth += 1
    case "CASE" where isOpen: depth += 1
    case "END" where isOpen: depth -= 1
    default: if isRoutine, words == 2 { isRoutine = false }
    }
    last = word
  }
}
