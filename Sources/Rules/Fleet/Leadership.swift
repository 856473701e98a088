/// Which shard locks a node acquires and releases in each turn: the rule behind `LeadershipAgent`.
///
/// A shard becomes *wanted* when the assignment gives it to this node, is *held* once its lock is acquired, and runs only while both are
/// true. The node releases the lock when the shard is no longer wanted *and* has ended here: not before its page is finished, and
/// without delaying anything else.
package struct Leadership: Sendable {
  package let node: String
  /// The live nodes, by name, as of the last turn.
  package private(set) var nodes: [String] = []
  package private(set) var held: Set<ShardName> = []
  private var leaders: [String: String] = [:]
  private var wanted: Set<ShardName> = []
  /// Why a wanted shard came to this node, and why a held one leaves it.
  private var causes: [ShardName: String] = [:]

  package struct Turn: Sendable, Hashable {
    /// Shards that no longer run here, whose locks to release; and why.
    package var release: [ShardName: String] = [:]
    /// Shards whose locks to try.
    package var take: [ShardName] = []
    /// How the nodes have changed; nil if they have not.
    package var news: String?
  }

  package init(node: String) { self.node = node }

  /// - Parameters:
  ///   - own: the shards in this node's settings.
  ///   - others: by each other live node, the shards in its settings.
  ///   - running: shards whose agent has not ended here.
  package mutating func turn(own: Set<ShardName>, others: [String: Set<String>], running: Set<ShardName>) -> Turn {
    let before = (nodes: Set(nodes), leaders: leaders, wanted: wanted)
    var declared = others
    declared[node] = Set(own.map { "\($0)" })
    nodes = declared.keys.sorted()
    leaders = Assignment.leaders(of: declared)
    wanted = own.filter { leaders["\($0)"] == node }
    let news = news(since: before.nodes)
    for shard in wanted.subtracting(before.wanted) {
      causes[shard] =
        if before.nodes.isEmpty { "this node joined" } else if let former = before.leaders["\(shard)"] {
          before.nodes.contains(former) && !nodes.contains(former)
            ? "\(former) left" : news ?? "the settings changed"
        } else { "it was declared" }
    }
    for shard in before.wanted.subtracting(wanted) {
      causes[shard] =
        own.contains(shard)
        ? "\(leaders["\(shard)"] ?? "another node") leads it now: \(news ?? "the settings changed")"
        : "this node no longer offers to run it"
    }
    var turn = Turn(news: news)
    for shard in held.subtracting(wanted).subtracting(running) {
      held.remove(shard)
      turn.release[shard] = causes.removeValue(forKey: shard) ?? ""
    }
    turn.take = wanted.subtracting(held).sorted()
    return turn
  }

  /// Whether the shard runs here now; one that does not finishes its page and ends.
  package func runs(_ shard: ShardName) -> Bool { held.contains(shard) && wanted.contains(shard) }

  /// The node acquired the lock of a wanted shard; returns why the shard came here.
  package mutating func took(_ shard: ShardName) -> String {
    held.insert(shard)
    return causes.removeValue(forKey: shard) ?? ""
  }

  /// The node is told to stop: returns which of its locks it may release now.
  package mutating func part(running: Set<ShardName>) -> [ShardName] {
    let ended = held.subtracting(running)
    held.formIntersection(running)
    return ended.sorted()
  }

  private func news(since before: Set<String>) -> String? {
    let joined = nodes.filter { !before.contains($0) }
    let gone = before.subtracting(nodes).sorted()
    let parts = [
      joined.isEmpty ? nil : "\(joined.joined(separator: ", ")) joined",
      gone.isEmpty ? nil : "\(gone.joined(separator: ", ")) left",
    ].compactMap { $0 }
    return parts.isEmpty ? nil : parts.joined(separator: ", ")
  }
}
