/// Finds statements whose result depends on how many events a page has.
///
/// A page holds one event at the tail and a hundred thousand far behind, so a statement must come to the same rows either way. PostgreSQL
/// lets some through that do not: an UPDATE takes one of several matching rows and drops the others without a word. This reads the text
/// alone, so it looks for a few shapes that are wrong in nearly every case, and is silent about what it cannot follow.
extension SQLText {
  /// Why the result of a statement over `batch` depends on the width of the page; nil where no such shape is found.
  package static func widthDependence(of statement: String) -> (problem: String, hint: String)? {
    var reader = QueryReader(statement)
    return reader.judge(reader.all)
  }
}

/// Follows, through common table expressions and sub-selects, which sources have a row for each event of the page.
private struct QueryReader {
  private struct Token {
    /// An identifier as PostgreSQL folds it, or a symbol; empty for a literal.
    var text: String
    var isQuoted = false
    /// Of an opening parenthesis: where it closes.
    var close: Int?

    /// A keyword, never a quoted name.
    func isKeyword(_ words: String...) -> Bool { !isQuoted && words.contains(text) }
  }

  private var tokens: [Token] = []
  /// Common table expressions that have a row for each event.
  private var perEvent: Set<String> = []

  var all: Range<Int> { tokens.indices }

  init(_ statement: String) {
    var lexer = SQLLexer(statement)
    var open: [Int] = []
    while let token = try? lexer.next() {
      guard token.kind.isSignificant else { continue }
      let text = lexer.text(token.range)
      switch token.kind {
      case .word: tokens.append(Token(text: text.lowercased()))
      case .quotedIdentifier:
        tokens.append(
          Token(text: String(text.dropFirst().dropLast()).replacing("\"\"", with: "\""), isQuoted: true))
      case .symbol(UInt8(ascii: "(")):
        open.append(tokens.count)
        tokens.append(Token(text: text))
      case .symbol(UInt8(ascii: ")")):
        if let start = open.popLast() { tokens[start].close = tokens.count }
        tokens.append(Token(text: text))
      case .symbol: tokens.append(Token(text: text))
      default: tokens.append(Token(text: ""))
      }
    }
  }

  // MARK: Reading

  /// The positions in a range that are not within parentheses; an opening parenthesis is.
  private func top(_ range: Range<Int>) -> [Int] {
    var found: [Int] = []
    var index = range.lowerBound
    while index < range.upperBound {
      found.append(index)
      index = (tokens[index].close ?? index) + 1
    }
    return found
  }

  /// The positions in a range that are not within a sub-select.
  private func notInQueries(_ range: Range<Int>) -> [Int] {
    var found: [Int] = []
    var index = range.lowerBound
    while index < range.upperBound {
      found.append(index)
      index = (isQuery(index) ? tokens[index].close ?? index : index) + 1
    }
    return found
  }

  private func first(_ range: Range<Int>, _ words: String...) -> Int? {
    top(range).first { index in words.contains { tokens[index].isKeyword($0) } }
  }

  private func inside(_ open: Int) -> Range<Int> { open + 1..<(tokens[open].close ?? tokens.count) }

  private func isQuery(_ open: Int) -> Bool {
    guard tokens[open].text == "(", !tokens[open].isQuoted, open + 1 < tokens.count else { return false }
    let next = tokens[open + 1]
    return next.isKeyword("select", "with") || (next.text == "(" && isQuery(open + 1))
  }

  private static let ends = [
    "where", "group", "having", "window", "order", "limit", "offset", "fetch", "returning", "on",
  ]

  /// The tokens after `from` up to the clause that follows.
  private func sources(after start: Int, in range: Range<Int>, joins: Bool = true) -> Range<Int> {
    let end = top(start + 1..<range.upperBound).first { index in
      Self.ends.contains { tokens[index].isKeyword($0) && !(joins && $0 == "on") }
    }
    return start + 1..<(end ?? range.upperBound)
  }

  /// Whether a list of sources has one with a row for each event.
  private func listsEvents(_ range: Range<Int>) -> Bool {
    top(range).contains { index in
      let token = tokens[index]
      if isQuery(index) { return yieldsEvents(inside(index)) }
      if token.text == "(" { return listsEvents(inside(index)) && !isCall(index) }
      // Not the alias or the column of another source.
      let isQualifier = index + 1 < tokens.count && tokens[index + 1].text == "."
      return !isQualifier && (isBatch(index) || (perEvent.contains(token.text) && !isQualified(index)))
    }
  }

  private func isCall(_ open: Int) -> Bool {
    guard open > 0 else { return false }
    let before = tokens[open - 1]
    return before.isQuoted
      || (before.text.utf8.first?.startsWord ?? false) && !before.isKeyword("from", "join", "lateral")
  }

  private func isQualified(_ index: Int) -> Bool { index > 0 && tokens[index - 1].text == "." }

  private func isBatch(_ index: Int) -> Bool {
    guard tokens[index].text == "batch" else { return false }
    return !isQualified(index) || (index > 1 && tokens[index - 2].text == "tidemark")
  }

  private static let aggregates: Set<String> = [
    "sum", "count", "min", "max", "avg", "array_agg", "string_agg", "json_agg", "jsonb_agg", "jsonb_object_agg",
    "bool_or",
    "bool_and", "every", "any_value",
  ]

  /// Whether a query has a row for each event: it reads one that has, and neither groups its rows nor makes them distinct.
  private func yieldsEvents(_ range: Range<Int>) -> Bool {
    guard !range.isEmpty else { return false }
    if isQuery(range.lowerBound) { return yieldsEvents(inside(range.lowerBound)) }
    guard first(range, "group", "distinct", "limit", "fetch") == nil, let from = first(range, "from") else {
      return false
    }
    let isAggregated = notInQueries(range.lowerBound..<from).contains { index in
      guard Self.aggregates.contains(tokens[index].text), let close = tokens[safe: index + 1]?.close else {
        return false
      }
      return !(tokens[safe: close + 1]?.isKeyword("over", "filter") ?? false)
    }
    // A number for each row of a partition is how one row of several is chosen.
    let isNumbered = top(range.lowerBound..<from).contains { tokens[$0].isKeyword("over") }
    return !isAggregated && !isNumbered && listsEvents(sources(after: from, in: range))
  }

  // MARK: Judging

  /// Judges a statement, after the data-modifying ones in its common table expressions.
  mutating func judge(_ range: Range<Int>) -> (problem: String, hint: String)? {
    var range = range
    if let with = tokens[safe: range.lowerBound], with.isKeyword("with") {
      var index = range.lowerBound + 1
      while index < range.upperBound {
        let name = tokens[index].isKeyword("recursive") ? index + 1 : index
        guard let body = top(name..<range.upperBound).first(where: { tokens[$0].text == "(" && opensBody($0) }) else {
          return nil
        }
        if let found = judge(inside(body)) { return found }
        if yieldsEvents(inside(body)) { perEvent.insert(tokens[name].text) }
        index = (tokens[body].close ?? tokens.count) + 1
        guard index < range.upperBound, tokens[index].text == "," else { break }
        index += 1
      }
      range = min(index, range.upperBound)..<range.upperBound
    }
    guard let verb = tokens[safe: range.lowerBound] else { return nil }
    if verb.isKeyword("update") { return judgeUpdate(range) }
    if verb.isKeyword("merge") { return judgeMerge(range) }
    if verb.isKeyword("insert") { return judgeInsert(range) }
    return nil
  }

  /// Whether a parenthesis opens the body of a common table expression: `AS [[NOT] MATERIALIZED] (`.
  private func opensBody(_ open: Int) -> Bool {
    tokens[safe: open - 1]?.isKeyword("as", "materialized") ?? false
  }

  private func judgeUpdate(_ range: Range<Int>) -> (problem: String, hint: String)? {
    guard let set = first(range, "set") else { return nil }
    let from = first(set..<range.upperBound, "from")
    let assignmentsEnd = from ?? first(set..<range.upperBound, "where", "returning") ?? range.upperBound
    let assignments = set + 1..<assignmentsEnd
    if let from, listsEvents(sources(after: from, in: range)), !isConstant(assignments) {
      return (
        "UPDATE … FROM takes one of several events that match a row and drops the others, so the result depends on how many events a page has",
        "Read from a sub-select that has one row for each key: FROM (SELECT …, sum(…) FROM batch GROUP BY …), or use INSERT … ON CONFLICT DO UPDATE."
      )
    }
    guard let condition = first(assignmentsEnd..<range.upperBound, "where"), countsOnItself(assignments) else {
      return nil
    }
    let asksForEvents = (condition..<range.upperBound).contains { isQuery($0) && yieldsEvents(inside($0)) }
    guard asksForEvents else { return nil }
    return (
      "this UPDATE changes a row once for all events of a page that match it, so the result depends on how many events a page has",
      "Count the events: UPDATE … SET n = t.n + b.n FROM (SELECT …, count(*) AS n FROM batch GROUP BY …) AS b."
    )
  }

  private func judgeMerge(_ range: Range<Int>) -> (problem: String, hint: String)? {
    guard let using = first(range, "using"), listsEvents(sources(after: using, in: range, joins: false)) else {
      return nil
    }
    return (
      "MERGE fails where several events of a page match one row, so every page with such events is applied event by event",
      "Merge from a sub-select that has one row for each key: USING (SELECT …, sum(…) FROM batch GROUP BY …)."
    )
  }

  private func judgeInsert(_ range: Range<Int>) -> (problem: String, hint: String)? {
    guard let select = first(range, "select"), let conflict = first(select..<range.upperBound, "conflict"),
      let update = first(conflict..<range.upperBound, "set"), yieldsEvents(select..<conflict - 1)
    else { return nil }
    let end = first(update..<range.upperBound, "where", "returning") ?? range.upperBound
    guard !isConstant(update + 1..<end) else { return nil }
    return (
      "INSERT … ON CONFLICT DO UPDATE fails where several events of a page have one key, so every page with such events is applied event by event",
      "Insert one row for each key: SELECT …, sum(…) FROM batch GROUP BY …; where each event has a key of its own, this is harmless."
    )
  }

  private static let constants: Set<String> = [
    "true", "false", "null", "default", "now", "current_timestamp", "current_date", "clock_timestamp",
  ]

  /// Whether assignments set every column to a value that no event and no row changes.
  private func isConstant(_ range: Range<Int>) -> Bool {
    expressions(range).allSatisfy { _, value in
      value.allSatisfy { index in
        let token = tokens[index]
        let isName = token.isQuoted || (token.text.utf8.first?.startsWord ?? false)
        return !isName || Self.constants.contains(token.text)
      }
    }
  }

  /// Whether an assignment uses the column that it sets.
  private func countsOnItself(_ range: Range<Int>) -> Bool {
    expressions(range).contains { name, value in value.contains { tokens[$0].text == name } }
  }

  /// The assignments of a SET list: a column's name, and where its value is.
  private func expressions(_ range: Range<Int>) -> [(name: String, value: Range<Int>)] {
    let commas = top(range).filter { tokens[$0].text == "," } + [range.upperBound]
    var start = range.lowerBound
    return commas.compactMap { comma in
      defer { start = comma + 1 }
      guard start < comma, let equals = top(start..<comma).first(where: { tokens[$0].text == "=" }) else { return nil }
      return (tokens[start].text, equals + 1..<comma)
    }
  }
}

extension Array {
  fileprivate subscript(safe index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}
