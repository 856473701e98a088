import Rules
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

  @Test func `are all led, and by the same node, whichever one works it out`() {
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

@Suite struct `The rule of leadership` {
  private let a = ShardName(projection: "A")
  private let b = ShardName(projection: "B")
  private let c = ShardName(projection: "C")
  private var all: Set<ShardName> { [a, b, c] }
  private var names: Set<String> { ["A:All", "B:All", "C:All"] }

  /// A node that leads everything it wants.
  private func alone() -> Leadership {
    var rule = Leadership(node: "one")
    let turn = rule.turn(own: all, others: [:], running: [])
    #expect(turn.take == [a, b, c] && turn.release.isEmpty && turn.news == "one joined")
    for shard in turn.take { #expect(rule.took(shard) == "this node joined") }
    return rule
  }

  @Test func `runs what it wants once it holds the lock`() {
    var rule = Leadership(node: "one")
    _ = rule.turn(own: all, others: [:], running: [])
    #expect(!rule.runs(a))
    _ = rule.took(a)
    #expect(rule.runs(a) && !rule.runs(b))
    #expect(rule.turn(own: all, others: [:], running: [a]).take == [b, c], "what it did not get is tried for again")
  }

  @Test func `lets a lock go when the shard has ended, and not before`() throws {
    var rule = alone()
    let turn = rule.turn(own: all, others: ["two": names], running: all)
    #expect(turn.news == "two joined" && turn.release.isEmpty)
    let leaving = try #require(all.first { !rule.runs($0) })
    #expect(rule.held.contains(leaving), "its page is not finished")
    let next = rule.turn(own: all, others: ["two": names], running: all.subtracting([leaving]))
    #expect(next.release == [leaving: "two leads it now: two joined"] && !rule.held.contains(leaving))
    #expect(next.news == nil && !next.take.contains(leaving))
  }

  @Test func `keeps a shard that comes back before it has ended`() throws {
    var rule = alone()
    _ = rule.turn(own: all, others: ["two": names], running: all)
    let leaving = try #require(all.first { !rule.runs($0) })
    let turn = rule.turn(own: all, others: [:], running: all)
    #expect(turn.release.isEmpty && turn.take.isEmpty && rule.runs(leaving) && turn.news == "two left")
  }

  @Test func `says why a shard comes`() throws {
    var rule = Leadership(node: "one")
    let first = rule.turn(own: all, others: ["two": names], running: [])
    for shard in first.take { _ = rule.took(shard) }
    let orphans = rule.turn(own: all, others: [:], running: Set(first.take)).take
    #expect(!orphans.isEmpty && orphans.allSatisfy { rule.took($0) == "two left" })
    let d = ShardName(projection: "D")
    #expect(rule.turn(own: all.union([d]), others: [:], running: all).take == [d])
    #expect(rule.took(d) == "it was declared")
    _ = rule.turn(own: all, others: [:], running: all.union([d]))
    #expect(
      rule.turn(own: all, others: [:], running: all).release == [d: "this node no longer offers to run it"])
  }

  @Test func `gives a shard to a node that knows it`() {
    var rule = Leadership(node: "one")
    for shard in rule.turn(own: all, others: ["two": ["A:All"], "three": []], running: []).take { _ = rule.took(shard) }
    #expect(rule.held.isSuperset(of: [b, c]))
  }

  @Test func `lets locks go one by one when it is told to stop`() {
    var rule = alone()
    #expect(rule.part(running: [a]) == [b, c])
    #expect(rule.part(running: [a]) == [])
    #expect(rule.part(running: []) == [a])
  }

  /// Nodes come and go at random, each sees the others late, and pages end when they like: two never run the same shard, and when it is
  /// quiet every shard runs.
  @Test func `never has two nodes run a shard, and in the end one`() {
    let first = walkSeed()
    for seed in first..<(first + 20) { walk(seed) }
  }

  private func walk(_ seed: UInt64) {
    var random = SplitMix64(seed: seed)
    let shards = Set((1...8).map { ShardName(projection: "P\($0)") })
    let names = Set(shards.map { "\($0)" })
    var rules: [String: Leadership] = [:]
    var running: [String: Set<ShardName>] = [:]
    var locks: [ShardName: String] = [:]
    func turn(_ node: String, seeing others: Set<String>, finishing: Bool) {
      guard var rule = rules[node] else { return }
      let turn = rule.turn(
        own: shards, others: Dictionary(uniqueKeysWithValues: others.subtracting([node]).map { ($0, names) }),
        running: running[node]!)
      for shard in turn.release.keys { locks[shard] = nil }
      for shard in turn.take where locks[shard] == nil {
        locks[shard] = node
        _ = rule.took(shard)
      }
      running[node] = running[node]!.filter { rule.runs($0) || !(finishing || Bool.random(using: &random)) }
        .union(shards.filter { rule.runs($0) })
      rules[node] = rule
      for shard in shards { #expect(running.values.count { $0.contains(shard) } <= 1, "seed \(seed)") }
    }
    for step in 0..<300 {
      let node = "n\(Int.random(in: 0..<5, using: &random))"
      switch Int.random(in: 0..<20, using: &random) {
      case 0:
        // Killed, or its session lost: its locks are gone, and so is its work.
        rules[node] = nil
        running[node] = nil
        locks = locks.filter { $0.value != node }
      case 1, 2, 3:
        if rules[node] == nil {
          rules[node] = Leadership(node: node)
          running[node] = []
        }
      default:
        let seen = Set(rules.keys.filter { _ in Int.random(in: 0..<10, using: &random) > 0 })
        turn(node, seeing: step % 3 == 0 ? seen : Set(rules.keys), finishing: false)
      }
    }
    if rules.isEmpty {
      rules["n0"] = Leadership(node: "n0")
      running["n0"] = []
    }
    for _ in 0..<4 { for node in rules.keys.sorted() { turn(node, seeing: Set(rules.keys), finishing: true) } }
    #expect(running.values.reduce(0) { $0 + $1.count } == 8, "seed \(seed)")
  }
}
