package import Books
import Rules

/// Whether the state of a shard may no longer be true. A killed node leaves its last words behind, and one that cannot write goes on
/// without them: such a row looks like any other.
package enum Staleness {
  /// A node writes each row every ten seconds, also without a change.
  package static let freshness = Duration.seconds(25)

  /// - Returns: why the row cannot be believed; nil if it can.
  package static func reason(_ row: ShardTable.Health, liveNodes: Set<String>) -> String? {
    switch ShardState(rawValue: row.condition) {
    case .ended, .neverRun: return nil
    default: break
    }
    if !liveNodes.contains(row.node) { return "its node \(row.node) no longer runs" }
    guard let age = row.age, age > freshness else { return nil }
    return "its node \(row.node) runs, and has not written it since; the node's log says why"
  }
}
