import Foundation
import Plugins
import Rules
import Testing

@Suite struct `Lines for a plugin` {
  @Test func `contain an event with its data as PostgreSQL wrote it`() throws {
    var event = CopiedEvent(sequence: 813, version: 3, timestamp: 848_660_621_123_456)
    event.type = "order_placed"
    event.tenantID = "*DEFAULT*"
    event.headers = #"{"a": 1}"#
    event.data = #"{"n": 1.50, "text": "ü\n"}"#
    #expect(
      lines(try slice([event]))
        == #"{"seq_id":813,"id":"00010203-0405-0607-0809-0a0b0c0d0e0f","stream_id":"abababab-abab-abab-abab-abababababab","version":3,"type":"order_placed","timestamp":"2026-11-22T11:03:41.123456Z","tenant_id":"*DEFAULT*","headers":{"a": 1},"data":{"n": 1.50, "text": "ü\n"}}"#
        + "\n")
  }

  @Test func `contain null for missing values, and omit missing causation and correlation`() throws {
    var event = CopiedEvent(sequence: 1)
    event.data = nil
    let line = lines(try slice([event]))
    #expect(line.hasSuffix(#""tenant_id":null,"headers":null,"data":null}"# + "\n"))
    #expect(!line.contains("causation"))
    event.causationID = "c"
    event.correlationID = "d"
    #expect(lines(try slice([event])).contains(#","causation_id":"c","correlation_id":"d","headers""#))
  }

  @Test func `escape special characters in text, but not in JSON`() throws {
    var event = CopiedEvent(sequence: 1)
    event.type = "a\"b\\c\n\u{1}é"
    let line = lines(try slice([event]))
    #expect(line.contains(#""type":"a\"b\\c\n\u0001é""#))
    #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(line.utf8)) }
  }

  @Test func `may contain stream ids that are text`() throws {
    var event = CopiedEvent(sequence: 1)
    event.streamID = Array("order-\"7\"".utf8)
    let block = try block([event], hasUUIDStreams: false)
    #expect(lines(EventSlice(block, types: nil)).contains(#""stream_id":"order-\"7\"""#))
  }

  @Test(arguments: [1, 100, 65_536, 65_537, 262_144, 262_145, 3_000_000])
  func `are complete for any size of data`(size: Int) throws {
    let data = "\"" + String(repeating: "x", count: size) + "\""
    let events = [1, 2, 3].map { CopiedEvent(sequence: $0, data: $0 == 2 ? data : "{}") }
    let text = lines(try slice(events)).split(separator: "\n")
    #expect(text.count == 3)
    #expect(text[1].hasSuffix(",\"data\":\(data)}"))
    for line in text { #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(line.utf8)) } }
  }

  @Test func `come in pieces of bounded size`() throws {
    let data = "{\"n\": \(String(repeating: "1", count: 250))}"
    var lines = EventLines(
      EventSlice(try block((1...5_000).map { CopiedEvent(sequence: $0, data: data) }, rowLimit: 5_000), types: nil))
    var (pieces, ends) = (0, 0)
    while let piece = lines.piece() {
      #expect(piece.count <= 256 << 10)
      pieces += 1
      ends += piece.count { $0 == UInt8(ascii: "\n") }
    }
    #expect(ends == 5_000)
    #expect(pieces > 4)
    #expect(lines.isAtEnd)
  }

  /// Compares with the system's calendar, which agrees with ours from 1583 on.
  @Test func `format times as the calendar does`() throws {
    var times: [Int64] = [0, -1, 1, 86_399_999_999, -86_400_000_000, 5_097_600_000_000]
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<2_000 {
      times.append(.random(in: -13_100_000_000_000_000...240_000_000_000_000_000, using: &generator))
    }
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.timeZone = TimeZone(identifier: "UTC")
    formatter.calendar = Calendar(identifier: .iso8601)
    formatter.dateFormat = "yyyy-MM-dd'T'HH:mm:ss"
    for time in times {
      var buffer = [UInt8](repeating: 0, count: 40)
      let count = buffer.withUnsafeMutableBytes { EventText.time(time, at: $0.baseAddress!) - $0.baseAddress! }
      let text = String(decoding: buffer.prefix(count), as: UTF8.self)
      let seconds = Double(time.quotientAndRemainder(dividingBy: 1_000_000).quotient - (time % 1_000_000 < 0 ? 1 : 0))
      let expected = formatter.string(from: Date(timeIntervalSince1970: 946_684_800 + seconds))
      #expect(text.prefix(19) == expected, "\(time)")
      #expect(text.hasSuffix("Z") && count == 27)
    }
  }

  @Test func `have the hello and page of the manual`() {
    #expect(
      String(
        decoding: PluginLines.hello(shard: "Mailer:All", database: "main", mode: .continuous, position: 812),
        as: UTF8.self)
        == #"{"hello":{"protocol":1,"shard":"Mailer:All","database":"main","mode":"continuous","position":812}}"# + "\n"
    )
    #expect(
      String(
        decoding: PluginLines.hello(shard: "a\"\\\u{1}é", database: "", mode: .rebuild, position: 0), as: UTF8.self)
        == #"{"hello":{"protocol":1,"shard":"a\"\\\u0001é","database":"","mode":"rebuild","position":0}}"# + "\n")
    #expect(
      String(decoding: PluginLines.page(Page(floor: 812, ceiling: 1000), count: 2), as: UTF8.self)
        == #"{"page":{"floor":812,"ceiling":1000,"count":2}}"# + "\n")
  }
}
