/// How the nodes of a store share its shards: `solo` not at all; with `hotcold`, each shard has a leader among them.
package enum NodeMode: String, CaseIterable, Hashable, Sendable {
  case solo, hotcold
}
