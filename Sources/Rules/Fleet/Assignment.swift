/// Which node runs which shard. Every node works it out by itself from the same declarations, and all reach the same answer.
///
/// Rendezvous hashing: each shard goes to the node with the highest score for it, so a node that joins or leaves moves only what it
/// takes or had. Scores alone would now and then crowd a node, so none takes more than its share and a quarter; what is too much for
/// one goes to the next best.
package enum Assignment {
  /// Where every node declares the same shards.
  package static func leaders(of shards: [String], among nodes: [String]) -> [String: String] {
    leaders(of: Dictionary(nodes.map { ($0, Set(shards)) }) { first, _ in first })
  }

  /// - Parameter declared: by node, the shards in its settings. A shard goes to a node that knows it, also while the settings of one
  ///   node have been changed and those of another have not yet.
  package static func leaders(of declared: [String: Set<String>]) -> [String: String] {
    let nodes = declared.keys.sorted()
    let shards = declared.values.reduce(into: Set()) { $0.formUnion($1) }.sorted()
    guard !nodes.isEmpty else { return [:] }
    // An even share, rounded up, and a quarter of it; with shares below four nothing is added, so few shards are spread evenly.
    let share = (shards.count + nodes.count - 1) / nodes.count
    let limit = share + share / 4
    var load: [String: Int] = [:]
    var leaders: [String: String] = [:]
    // Whoever wants a shard most gets it first: a shard's place in the order does not depend on the others.
    let wanted = shards.map { shard in
      let ranked = nodes.filter { declared[$0]!.contains(shard) }
        .map { (score: score($0, shard), node: $0) }.sorted { $0 > $1 }
      return (shard: shard, ranked: ranked)
    }
    .sorted { ($0.ranked[0].score, $0.shard) > ($1.ranked[0].score, $1.shard) }
    for (shard, ranked) in wanted {
      let node = (ranked.first { load[$0.node, default: 0] < limit } ?? ranked[0]).node
      load[node, default: 0] += 1
      leaders[shard] = node
    }
    return leaders
  }

  /// A hash of both names, then mixed, since names differ in few characters.
  private static func score(_ node: String, _ shard: String) -> UInt64 {
    var hash = stableHash(Array(node.utf8) + [0] + Array(shard.utf8))
    hash = (hash ^ (hash >> 30)) &* 0xBF58_476D_1CE4_E5B9
    hash = (hash ^ (hash >> 27)) &* 0x94D0_49BB_1331_11EB
    return hash ^ (hash >> 31)
  }
}
