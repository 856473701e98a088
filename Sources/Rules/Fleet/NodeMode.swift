/// How the nodes of a store share its shards: not at all, or each shard led by one of them.
package enum NodeMode: String, CaseIterable, Hashable, Sendable {
  case solo, hotcold
}
