import Projection
import Testing

@Suite struct `The lock of a shard's leader` {
  @Test(arguments: [
    ("public", "Trip:All", 255_106_635 as Int64), ("public", "Trip:V2:All", 422_638_309),
    ("events", "Trip:All", 141_234_015),
  ])
  func `has Marten's key`(schema: String, shard: String, key: Int64) {
    #expect(LeaderLock.key(schema: schema, shard: shard) == key)
  }
}

@Suite struct `Shards among nodes` {
  private let shards = (1...40).map { "Projection\($0):All" }
  private let nodes = (1...4).map { "host\($0)/\(1000 + $0)" }

  @Test func `are all led, and by the same whoever works it out`() {
    let one = Assignment.leaders(of: shards, among: nodes)
    let other = Assignment.leaders(of: shards.reversed(), among: nodes.reversed())
    #expect(one == other && one.count == 40)
    #expect(Assignment.leaders(of: shards, among: []).isEmpty)
  }

  @Test(arguments: 2...12)
  func `leave no node with more than one and a half times its share`(count: Int) {
    for attempt in 0..<50 {
      let nodes = (1...count).map { "host\($0)/\(attempt * 17 + $0)" }
      let loads = Dictionary(grouping: Assignment.leaders(of: shards, among: nodes).values, by: { $0 }).mapValues(
        \.count)
      let share = (40 + count - 1) / count
      #expect(loads.values.max()! * 2 <= share * 3, "\(loads)")
    }
  }

  @Test func `move only as far as they must when a node goes or comes`() {
    for attempt in 0..<50 {
      let nodes = (1...4).map { "host\($0)/\(attempt * 31 + $0)" }
      let before = Assignment.leaders(of: shards, among: nodes)
      let after = Assignment.leaders(of: shards, among: Array(nodes.dropFirst()))
      let orphans = before.values.count { $0 == nodes[0] }
      let moved = shards.count { before[$0] != after[$0] }
      #expect(moved <= orphans + 8, "\(moved) moved for \(orphans) orphans")
    }
  }
}
