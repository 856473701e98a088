/// What one node does about the locks of shards, turn after turn: the rule behind `LeadershipAgent`.
///
/// A shard becomes *wanted* when the assignment gives it to this node, is *held* once its lock was taken, and runs only while both are
/// true. Its lock goes when the shard is no longer wanted *and* has ended here: not before its page is finished, and without holding up
/// anything else meanwhile.
package struct Leadership: Sendable {
  package let node: String
  /// Those that live, by name, as of the last turn.
  package private(set) var nodes: [String] = []
  package private(set) var held: Set<ShardName> = []
  private var leaders: [String: String] = [:]
  private var wanted: Set<ShardName> = []
  /// Why a wanted shard came to this node, and why a held one goes.
  private var causes: [ShardName: String] = [:]

  package struct Turn: Sendable, Hashable {
    /// No longer runs here, so its lock goes; and why.
    package var release: [ShardName: String] = [:]
    /// Its lock is tried for.
    package var take: [ShardName] = []
    /// How the nodes have changed; nil where they have not.
    package var news: String?
  }

  package init(node: String) { self.node = node }

  /// - Parameters:
  ///   - own: the shards in this node's settings.
  ///   - others: by each other node that lives, the shards in its settings.
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
        if before.nodes.isEmpty { "this node has joined" } else if let former = before.leaders["\(shard)"] {
          before.nodes.contains(former) && !nodes.contains(former)
            ? "\(former) is gone" : news ?? "settings have changed"
        } else { "it was declared" }
    }
    for shard in before.wanted.subtracting(wanted) {
      causes[shard] =
        own.contains(shard)
        ? "\(leaders["\(shard)"] ?? "another node") leads it from now on: \(news ?? "settings have changed")"
        : "this node does not offer to run it any more"
    }
    var turn = Turn(news: news)
    for shard in held.subtracting(wanted).subtracting(running) {
      held.remove(shard)
      turn.release[shard] = causes.removeValue(forKey: shard) ?? ""
    }
    turn.take = wanted.subtracting(held).sorted()
    return turn
  }

  /// Whether the shard runs here now; what does not finishes its page and ends.
  package func runs(_ shard: ShardName) -> Bool { held.contains(shard) && wanted.contains(shard) }

  /// The lock of a wanted shard is ours; returns why it came here.
  package mutating func took(_ shard: ShardName) -> String {
    held.insert(shard)
    return causes.removeValue(forKey: shard) ?? ""
  }

  /// The node is told to stop: which of the locks it holds may go now.
  package mutating func part(running: Set<ShardName>) -> [ShardName] {
    let ended = held.subtracting(running)
    held.formIntersection(running)
    return ended.sorted()
  }

  private func news(since before: Set<String>) -> String? {
    let joined = nodes.filter { !before.contains($0) }
    let gone = before.subtracting(nodes).sorted()
    let parts = [
      joined.isEmpty ? nil : "\(joined.joined(separator: ", ")) \(joined.count == 1 ? "has" : "have") joined",
      gone.isEmpty ? nil : "\(gone.joined(separator: ", ")) \(gone.count == 1 ? "is" : "are") gone",
    ].compactMap { $0 }
    return parts.isEmpty ? nil : parts.joined(separator: ", ")
  }
}
