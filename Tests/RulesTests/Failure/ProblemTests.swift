import Foundation
import Rules
import Testing

@Suite struct `A problem` {
  @Test func `says its code and its place`() {
    let source = SourceLocation(file: "tidemark.toml", line: 12, column: 3)
    #expect("\(Problem("away"))" == "away")
    #expect("\(Problem(.store(.standby), "it is a standby"))" == "it is a standby (TM206)")
    #expect(
      "\(Problem(.sqlState("22012"), "division by zero", source: source))"
        == "division by zero (SQLSTATE 22012) at tidemark.toml:12:3")
    let unset = Problem(.settings(.value), "expected a number", source: source, key: "database.pool_size")
    #expect(unset.placed == "tidemark.toml:12:3: database.pool_size: expected a number (TM104)")
    #expect(Problem("away", source: .unknown, key: "").placed == "away")
  }

  @Test func `has no empty hint or detail`() {
    let problem = Problem("away", detail: "", hint: "")
    #expect(problem.detail == nil && problem.hint == nil)
  }

  @Test func `fits into an entry of the log when it is shortened`() {
    let long = String(repeating: "x", count: 301)
    let short = Problem(long, detail: long, hint: long).shortened
    let cut = String(repeating: "x", count: 300) + " ..."
    #expect(short.message == cut && short.detail == cut && short.hint == cut)
    #expect(Problem(cut.replacing(" ...", with: "")).shortened.message.count == 300)
  }

  @Test(arguments: [
    (Code.raised(.positionMoved), FailureClass.order), (.raised(.pageChanged), .transient),
    (.raised(.strayStatement), .definition), (.sqlState("40001"), .transient), (.sqlState("23505"), .event),
    (.sqlState("TM999"), .definition), (.store(.notAtRest), .transient), (.plugin(.silent), .transient),
    (.plugin(.lineTooLong), .transient), (.plugin(.refused), .definition), (.plugin(.badLibrary), .definition),
    (.plugin(.badStatement), .definition),
  ])
  func `is classed by its code`(code: Code, expected: FailureClass) { #expect(FailureClass.of(code) == expected) }
}

@Suite struct `The list of codes` {
  private let all = Code.groups.flatMap(\.codes)

  @Test func `has each code once, with a sentence`() {
    #expect(Set(all.map(\.text)).count == all.count)
    for code in all {
      #expect(code.text.wholeMatch(of: /TM[1-5]\d\d/) != nil, "\(code)")
      #expect(code.meaning.hasSuffix("."), "\(code)")
    }
  }

  /// Functions in the database raise them as text, and statements compare them.
  @Test func `has every code that the sources name`() throws {
    let sources = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../Sources").standardized
    let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
    var named: Set<String> = []
    for case let file as URL in files where ["swift", "sql"].contains(file.pathExtension) {
      let text = try String(contentsOf: file, encoding: .utf8)
      named.formUnion(text.matches(of: /\bTM[1-9]\d\d\b/).map { String($0.output) })
    }
    #expect(named.subtracting(all.map(\.text)) == [])
    #expect(named.contains("TM301"))
  }

  @Test func `tells what a function of ours raised from what one of the operator's did`() {
    #expect(Code(sqlState: "TM304") == .raised(.strayStatement))
    #expect(Code(sqlState: "TM506") == .sqlState("TM506"))
    #expect(Code(sqlState: "22012") == .sqlState("22012"))
  }
}
