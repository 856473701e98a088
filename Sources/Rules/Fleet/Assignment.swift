/// Which node runs which shard. Every node computes it from the same declarations, and all reach the same answer.
///
/// Rendezvous hashing: each shard goes to the node with the highest score for it, so a node that joins or leaves moves only the shards
/// it receives or had. Scores alone would sometimes overload a node, so none takes more than its share and a quarter; the excess goes
/// to the next best.
package enum Assignment {
  /// For nodes that all declare the same shards.
  package static func leaders(of shards: [String], among nodes: [String]) -> [String: String] {
    leaders(of: Dictionary(nodes.map { ($0, Set(shards)) }) { first, _ in first })
  }

  /// - Parameter declared: by node, the shards in its settings. A shard goes only to a node that declares it, so this also works while
  ///   the settings have changed on some nodes and not yet on others.
  package static func leaders(of declared: [String: Set<String>]) -> [String: String] {
    let nodes = declared.keys.sorted()
    let shards = declared.values.reduce(into: Set()) { $0.formUnion($1) }.sorted()
    guard !nodes.isEmpty else { return [:] }
    // An even share, rounded up, and a quarter of it; shares below four get nothing extra, so a few shards are spread evenly.
    let share = (shards.count + nodes.count - 1) / nodes.count
    let limit = share + share / 4
    var load: [String: Int] = [:]
    var leaders: [String: String] = [:]
    // Highest score first: a shard's place in the order does not depend on the others.
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
