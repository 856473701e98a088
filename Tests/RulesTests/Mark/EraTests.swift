import Rules
import Testing

@Suite struct `The numbers of a store` {
  private static let event = Era.Event(place: "s 3", id: "a")
  private static let record = Era(mark: 12, witness: (12, event), sequenceFile: 1)

  private static func sight(
    _ handedOut: Int64 = 12, visible: Int64? = nil, _ found: Era.Event? = event, isCompacted: Bool = false,
    file: Int64 = 1,
    hasMarkRow: Bool = true
  ) -> Era.Sight {
    Era.Sight(
      handedOut: handedOut, highestVisible: visible ?? handedOut, found: found, isCompacted: isCompacted,
      sequenceFile: file,
      hasMarkRow: hasMarkRow)
  }

  enum Kind: Sendable { case same, behind, new }

  @Test(
    arguments: [
      (sight(), .same), (sight(40), .same),
      // The witness is there: whatever else was done to the sequence and the positions, the numbers are the old ones.
      (sight(40, file: 2), .same), (sight(40, hasMarkRow: false), .same), (sight(5, visible: 12), .behind),
      // Another event has its number.
      (sight(40, Era.Event(place: "t 1", id: "b")), .new), (sight(40, Era.Event(place: "s 3", id: "b")), .new),
      (sight(12, Era.Event(place: "s 3", id: "b")), .new),
      (sight(5, visible: 14, Era.Event(place: "t 1", id: "b")), .new),
      // Compaction writes another id, and stays at stream and version.
      (sight(40, Era.Event(place: "s 3", id: "b"), isCompacted: true), .same),
      (sight(40, Era.Event(place: "t 1", id: "b"), isCompacted: true), .new),
      // It was removed, as retention does.
      (sight(40, nil), .same), (sight(12, visible: 0, nil), .same),
      // The store was emptied and the sequence set back, and perhaps it has passed the mark since.
      (sight(0, nil), .new), (sight(11, nil), .new), (sight(40, nil, file: 2), .new),
      (sight(40, nil, hasMarkRow: false), .new),
      // Newer events are there, above the sequence.
      (sight(5, visible: 30, nil), .behind),
    ] as [(Era.Sight, Kind)])
  func `are those on record, or others`(sight: Era.Sight, expected: Kind) {
    switch (Self.record.judge(sight), expected) {
    case (.same, .same), (.sequenceBehind, .behind), (.new, .new): break
    case (let verdict, _): Issue.record("\(verdict), expected \(expected)")
    }
  }

  @Test func `are the old ones where nothing was on record to tell them by`() {
    let bare = Era(mark: 12)
    #expect(bare.judge(Self.sight(40, nil, hasMarkRow: false)) == .same)
    #expect(bare.judge(Self.sight(5, visible: 9, nil)) == .sequenceBehind)
    guard case .new = bare.judge(Self.sight(3, nil)) else {
      Issue.record("below the mark")
      return
    }
  }
}
