import Plugins
import Rules
import Testing

@Suite struct `A line of a plugin` {
  /// Each value costs the decoder far more than its two bytes.
  @Test func `with more values than any page needs is refused before it is decoded`() throws {
    func answer(_ values: Int, _ value: String) -> [UInt8] {
      let list = Array(repeating: value, count: values).joined(separator: ",")
      return Array(#"{"applied":{"ceiling":1,"sql":[{"text":"SELECT","values":[\#(list)]}]}}"#.utf8)
    }
    let error = #expect(throws: Problem.self) { try PluginMessage.parse(answer(1_000_001, "1")) }
    #expect(error?.code == .plugin(.lineTooLong))
    // Of a text only one counts, whatever is in it.
    let text = #"""# + String(repeating: #"\",[{"#, count: 400_000) + #"""#
    guard case .answer(.applied(1, let statements)) = try PluginMessage.parse(answer(1, text)) else {
      Issue.record("it is an answer")
      return
    }
    #expect(statements?.first?.values.first??.utf8.count == 1_600_000)
  }

  @Test(arguments: [
    (#"{"ready":{"protocol":1}}"#, PluginMessage.ready(protocolVersion: 1)),
    (#"{"refused":{"message":"no licence"}}"#, .refused(message: "no licence")),
    (#"{"applied":{"ceiling":1000}}"#, .answer(.applied(ceiling: 1000, statements: nil))),
    (#"{ "applied" : { "ceiling" : 1000, "sql" : [] } }"#, .answer(.applied(ceiling: 1000, statements: []))),
    (
      #"{"applied":{"ceiling":5,"sql":[{"text":"INSERT INTO t VALUES ($1, $2, $3, $4, $5)","values":["a",null,7,true,1.5]},{"text":"SELECT 1"}]}}"#,
      .answer(
        .applied(
          ceiling: 5,
          statements: [
            PluginStatement(text: "INSERT INTO t VALUES ($1, $2, $3, $4, $5)", values: ["a", nil, "7", "true", "1.5"]),
            PluginStatement(text: "SELECT 1"),
          ]))
    ),
    (
      #"{"failed":{"seq_id":845,"class":"serialization","message":"no amount"}}"#,
      .answer(.failed(PluginFailure(sequence: 845, kind: .serialization, message: "no amount")))
    ),
    (
      #"{"failed":{"seq_id":845}}"#,
      .answer(.failed(PluginFailure(sequence: 845, kind: .event, message: "the plugin gave no reason")))
    ),
    (#"{"log":{"level":"warning","message":"slow"}}"#, .log(level: .warning, message: "slow")),
    (#"{"log":{"message":"é\n\"x\""}}"#, .log(level: .info, message: "é\n\"x\"")),
  ])
  func `is read`(line: String, message: PluginMessage) throws {
    #expect(try PluginMessage.parse(Array(line.utf8)) == message)
  }

  @Test(arguments: [
    "hello", "", "[]", "{}", "7", "null", #"{"applied":{}}"#, #"{"applied":{"ceiling":"7"}}"#,
    #"{"applied":{"ceiling":1.5}}"#,
    #"{"applied":{"ceiling":1},"failed":{"seq_id":1}}"#, #"{"failed":{"seq_id":1,"class":"bad luck"}}"#,
    #"{"applied":{"ceiling":99999999999999999999}}"#, #"{"applied":{"ceiling":1,"sql":[{"values":[]}]}}"#,
    #"{"applied":{"ceiling":1,"sql":[{"text":"x","values":[{"a":1}]}]}}"#, #"{"applied":{"ceiling":1}"#,
    #"{"applied":{"ceiling":1}} {"applied":{"ceiling":2}}"#, "{\"log\":{\"message\":\"\u{1}\"}}", "{\"x\":1}",
  ])
  func `that is none is told with its beginning`(line: String) {
    #expect {
      _ = try PluginMessage.parse(Array(line.utf8))
    } throws: { error in
      guard let text = Self.quoted(error) else { return false }
      return text.hasPrefix(String(line.prefix(3)).unicodeScalars.first?.value == 1 ? "" : String(line.prefix(3)))
    }
  }

  /// What is told of the line.
  private static func quoted(_ error: any Error) -> String? {
    guard let problem = error as? Problem, problem.code == .plugin(.garbage) else { return nil }
    let beginning = Problem.garbage("").message
    return problem.message.hasPrefix(beginning) ? String(problem.message.dropFirst(beginning.count)) : nil
  }

  @Test func `that is not UTF-8 or very long is told in a few readable characters`() {
    for line: [UInt8] in [[0xFF, 0xFE, 0], Array(repeating: UInt8(ascii: "x"), count: 1_000_000)] {
      #expect {
        _ = try PluginMessage.parse(line)
      } throws: { error in
        guard let text = Self.quoted(error) else { return false }
        return text.count < 200 && !text.unicodeScalars.contains { $0.value < 0x20 }
      }
    }
  }

  @Test func `is cut from the stream whatever pieces that comes in`() throws {
    let text = Array("{\"a\":1}\n\n{\"b\":2}\r\nlast".utf8)
    for size in 1...text.count {
      var splitter = LineSplitter()
      var lines: [[UInt8]] = []
      for start in stride(from: 0, to: text.count, by: size) {
        lines += try splitter.take(Array(text[start..<min(start + size, text.count)]))
      }
      #expect(lines.map { String(decoding: $0, as: UTF8.self) } == [#"{"a":1}"#, #"{"b":2}"#])
      #expect(splitter.takeRest() == Array("last".utf8))
      #expect(splitter.takeRest() == nil)
    }
  }

  @Test func `may not be longer than the limit`() throws {
    var splitter = LineSplitter(limit: 10)
    #expect(try splitter.take(Array("0123456789\n".utf8)) == [Array("0123456789".utf8)])
    #expect(throws: Problem.lineTooLong(bytes: 11)) { try splitter.take(Array("01234567890".utf8)) }
    var cutting = LineSplitter(limit: 4, cutsLongLines: true)
    #expect(try cutting.take(Array("0123456789\nab".utf8)).map(\.count) == [4, 4, 2])
  }
}

@Suite struct `An answer` {
  private func page() throws -> EventSlice {
    try slice([2, 4, 6].map { CopiedEvent(sequence: $0) }, page: Page(floor: 0, ceiling: 10))
  }

  @Test(arguments: [
    (PluginAnswer.applied(ceiling: 10, statements: nil), true, true),
    (.applied(ceiling: 9, statements: nil), true, false),
    (.applied(ceiling: 20, statements: nil), true, false),
    (.applied(ceiling: 10, statements: nil), false, false),
    (.failed(PluginFailure(sequence: 4, kind: .event, message: "")), true, true),
    (.failed(PluginFailure(sequence: 4, kind: .event, message: "")), false, true),
    (.failed(PluginFailure(sequence: 5, kind: .event, message: "")), true, false),
    (.failed(PluginFailure(sequence: 12, kind: .event, message: "")), true, false),
    (.failed(PluginFailure(sequence: -1, kind: .event, message: "")), true, false),
  ])
  func `counts only for the page that was handed over whole`(answer: PluginAnswer, isHandedOver: Bool, isRight: Bool)
    throws
  {
    let problem = PluginAnswerCheck.problem(with: answer, to: try page(), isHandedOver: isHandedOver)
    #expect((problem == nil) == isRight, "\(String(describing: problem))")
  }

  @Test func `that tells a failure is met by the policy as its class says`() {
    let classes = PluginFailure.Kind.allCases.map { ($0.rawValue, $0.failureClass) }
    #expect(
      Dictionary(uniqueKeysWithValues: classes) == [
        "event": .event, "serialization": .event, "unknown": .unknownEvent, "transient": .transient,
        "definition": .definition,
      ])
    let strict = FailurePolicy(skipSerializationErrors: false)
    let kind = PluginFailure.Kind.serialization
    let facts = FailureFacts(kind.failureClass, sqlState: kind.sqlState, projection: "P")
    #expect(strict.actions(for: facts) == [.stop])
    #expect(FailurePolicy(skipApplyErrors: false).actions(for: facts) == [.skip])
  }
}
