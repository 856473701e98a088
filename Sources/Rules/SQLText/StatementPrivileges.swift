extension SQLText {
  /// What a statement does with a table, as the server's locks show it.
  package enum TableUse: Hashable, Sendable { case reads, locksRows, writes }

  /// The privileges that a statement needs on a table, judged by its words: at most more than it needs if it writes several tables in
  /// different ways, or has a column with the name of a keyword.
  package static func privileges(_ statement: String, _ use: TableUse) -> [String] {
    let words = words(of: statement)
    switch use {
    case .reads: return ["SELECT"]
    case .locksRows: return ["SELECT", "UPDATE"]
    case .writes:
      let reads = !words.isDisjoint(with: ["UPDATE", "DELETE", "MERGE", "CONFLICT", "RETURNING"])
      return (reads ? ["SELECT"] : []) + ["INSERT", "UPDATE", "DELETE"].filter(words.contains)
    }
  }

  /// Its keywords and unquoted names, in upper case.
  package static func words(of statement: String) -> Set<String> {
    var lexer = SQLLexer(statement)
    var words: Set<String> = []
    while let token = try? lexer.next() {
      if token.kind == .word { words.insert(lexer.text(token.range).uppercased()) }
    }
    return words
  }
}
