extension SQLText {
  /// The daemon controls the transaction: a statement that ended it would separate the effect from the position.
  private static let transactionControl: Set<String> = [
    "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE",
  ]

  /// Why a statement cannot be part of a projection, by the word it begins with; nil if it can.
  package static func objection(to statement: String, isSetup: Bool = false) -> (problem: String, hint: String)? {
    let keyword = firstKeyword(of: statement)
    switch keyword {
    case _ where transactionControl.contains(keyword):
      return ("\(keyword) is not allowed here", "the statements run in the transaction that moves the position")
    case _ where isSetup: return nil
    case "DISCARD", "DEALLOCATE", "LISTEN", "UNLISTEN", "RESET", "LOAD":
      return ("\(keyword) is not allowed here", "the session is shared with other projections")
    // Both end with the transaction.
    case "SET" where ![["SET", "LOCAL"], ["SET", "CONSTRAINTS"]].contains(firstKeywords(of: statement, limit: 2)):
      return ("SET is not allowed here", "use SET LOCAL, which ends with the page")
    case "COPY":
      return ("COPY is not allowed here", "use INSERT … SELECT")
    default: return nil
    }
  }

  /// Why a statement cannot be part of a page that is not a rebuild's: it would create an object in the schema that pages search first.
  package static func objection(toHomeOf statement: String) -> (problem: String, hint: String)? {
    guard createsWithoutSchema(statement) else { return nil }
    return (
      "CREATE needs the schema of the name here",
      "write CREATE … public.name, since pages search another schema first; or make the object in `setup`"
    )
  }

  /// Whether a statement creates an object whose name says no schema, and which is not temporary.
  private static func createsWithoutSchema(_ statement: String) -> Bool {
    // What stands between CREATE and the name.
    let before: Set = ["CREATE", "OR", "REPLACE", "UNLOGGED", "MATERIALIZED", "RECURSIVE", "IF", "NOT", "EXISTS"]
    let kinds: Set = ["TABLE", "VIEW", "SEQUENCE", "FUNCTION", "PROCEDURE", "AGGREGATE", "TYPE", "DOMAIN"]
    var lexer = SQLLexer(statement)
    var isKind = false
    while let token = try? lexer.next() {
      guard token.kind.isSignificant else { continue }
      let word = token.kind == .word ? lexer.text(token.range).uppercased() : ""
      if !isKind, kinds.contains(word) {
        isKind = true
      } else if before.contains(word) {
        continue
      } else if isKind {
        while let next = try? lexer.next() {
          if next.kind.isSignificant { return next.kind != .symbol(UInt8(ascii: ".")) }
        }
        return true
      } else {
        // TEMP, INDEX, SCHEMA and others.
        return false
      }
    }
    return false
  }
}
