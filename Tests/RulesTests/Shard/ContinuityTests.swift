import Rules
import Testing

@Suite struct `Whether a position is where it was left` {
  @Test(
    arguments: [
      (nil, nil, .new), (7, nil, .adopted(7)), (7, Continuity.Record(7), .same(7)),
      (2, Continuity.Record(7), .moved(from: 7, to: 2)), (9, Continuity.Record(7), .moved(from: 7, to: 9)),
      (nil, Continuity.Record(7), .gone(7)), (0, Continuity.Record(0), .same(0)),
      // The record says nothing about a row any more, whatever both say.
      (7, Continuity.Record(7, isStale: true), .stale(row: 7)),
      (nil, Continuity.Record(7, isStale: true), .stale(row: nil)),
    ] as [(Int64?, Continuity.Record?, Continuity)])
  func `follows from the row and the record`(row: Int64?, record: Continuity.Record?, expected: Continuity) {
    #expect(Continuity(row: row, record: record) == expected)
  }

  @Test func `is said with what would become of the events between`() throws {
    let back = try #require(Continuity.moved(from: 7, to: 2).problem("Trip:V2:All"))
    #expect(back.code == .store(.moved) && back.message.contains("events 3 to 7 would count a second time"), "\(back)")
    #expect(back.hint?.contains("`tidemark rebuild Trip`") == true, "\(back)")
    let ahead = try #require(Continuity.moved(from: 7, to: 9).problem("Trip:All"))
    #expect(ahead.message.contains("events 8 to 9 would be left out"), "\(ahead)")
    for fine in [Continuity.new, .adopted(1), .same(1), .gone(1), .stale(row: 1)] {
      #expect(fine.problem("Trip:All") == nil)
    }
  }
}
