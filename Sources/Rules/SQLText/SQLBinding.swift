extension SQLText {
  /// Turns each `:name` of a statement of the event form into a numbered parameter; a repeated name keeps its number.
  ///
  /// Literals, quoted identifiers, comments, `::` and `:=` stay as they are. A colon within brackets that follows a value
  /// belongs to an array slice: `a[lo:hi]` binds nothing, `a[:version:hi]` binds the first. `JSON_OBJECT('k' : x)`
  /// needs its space before a column.
  ///
  /// Throws for an unknown name, for a parameter written by hand, and for an unterminated quote or comment.
  package static func bind(_ statement: Statement) throws(SQLTextError) -> BoundStatement {
    var lexer = SQLLexer(statement.text)
    var text = ""
    var columns: [EventColumn] = []
    /// The brackets and parentheses open at this point.
    var open: [UInt8] = []
    var followsValue = false

    while let token = try lexer.next() {
      switch token.kind {
      case .parameter:
        throw SQLTextError(
          message: "expected a name such as :data, got \(lexer.text(token.range))",
          line: lexer.line(at: token.range.lowerBound))
      case .symbol(UInt8(ascii: ":")):
        let isSlice = open.last == UInt8(ascii: "[") && followsValue
        guard !isSlice, lexer.peek(0)?.startsWord == true, let name = try lexer.next() else { break }
        let column = try column(named: lexer.text(name.range), line: lexer.line(at: token.range.lowerBound))
        if !columns.contains(column) { columns.append(column) }
        // `SELECT:data` would otherwise become the one word `SELECT$1`.
        if token.range.lowerBound > 0, lexer.bytes[token.range.lowerBound - 1].continuesWord { text += " " }
        text += "$\(columns.firstIndex(of: column)! + 1)"
        followsValue = true
        continue
      case .symbol(UInt8(ascii: "[")): open.append(UInt8(ascii: "["))
      case .symbol(UInt8(ascii: "(")): open.append(UInt8(ascii: "("))
      case .symbol(UInt8(ascii: "]")), .symbol(UInt8(ascii: ")")): _ = open.popLast()
      default: break
      }
      text += lexer.text(token.range)
      if token.kind.isSignificant { followsValue = token.kind.endsValue }
    }
    return BoundStatement(statement: statement, text: text, columns: columns)
  }

  private static func column(named name: String, line: Int) throws(SQLTextError) -> EventColumn {
    if let column = EventColumn(rawValue: name.lowercased()) { return column }
    let names = EventColumn.allCases.map(\.rawValue)
    let hint = nearestName(to: name, in: names).map { "; did you mean :\($0)?" } ?? "; expected one of \(list(names))"
    throw SQLTextError(message: "unknown name :\(name)\(hint)", line: line)
  }

  private static func list(_ names: [String]) -> String { names.map { ":" + $0 }.joined(separator: ", ") }
}

extension SQLLexer.Kind {
  /// A value can end with such a token, so that a colon after it cannot begin a name.
  fileprivate var endsValue: Bool {
    switch self {
    case .literal, .quotedIdentifier, .word, .number, .parameter: true
    case .symbol(let byte): byte == UInt8(ascii: "]") || byte == UInt8(ascii: ")")
    case .space, .comment, .cast, .assignment: false
    }
  }
}
