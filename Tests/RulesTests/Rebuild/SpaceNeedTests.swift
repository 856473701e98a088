import Rules
import Testing

@Suite struct `The room for new tables` {
  @Test(
    arguments: [
      (100, 100, nil), (100, nil, nil), (0, 0, nil),
      (3 << 30, 1 << 20, "need about 3.0 GB, as the old ones take, and tablespace fast has 1.0 MB left"),
    ] as [(Int64, Int64?, String?)])
  func `is compared with what is left, where that is known`(needed: Int64, free: Int64?, words: String?) {
    let need = SpaceNeed([
      SpaceNeed.Place(name: "the disk of the database", needed: 7, free: 8),
      SpaceNeed.Place(name: "tablespace fast", needed: needed, free: free),
    ])
    guard let words else {
      #expect(throws: Never.self) { try need.check(of: "Trip") }
      return
    }
    #expect {
      try need.check(of: "Trip")
    } throws: { error in
      (error as? Problem)?.code == .rebuild(.noSpace) && "\(error)".contains(words)
    }
  }
}
