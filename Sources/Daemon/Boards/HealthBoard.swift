import Concurrency
import Postgres
package import Rules
import Telemetry

/// The state of every shard of this node, as its agent last reported it.
package actor HealthBoard {
  package struct Entry: Sendable, Hashable {
    package var state: ShardState
    package var reason: String?
    package var position: Int64?
  }

  /// The shards that run here.
  package private(set) var entries: [ShardName: Entry] = [:]
  private var ended: [ShardName: Entry] = [:]

  package init() {}

  package func set(_ shard: ShardName, state: ShardState, reason: String?, position: Int64?) {
    entries[shard] = Entry(state: state, reason: reason, position: position)
  }

  package func end(_ shard: ShardName) {
    guard var entry = entries.removeValue(forKey: shard) else { return }
    entry.state = .ended
    entry.reason = nil
    ended[shard] = entry
  }

  /// Includes the shards that ended on this node.
  var all: [ShardName: Entry] { ended.merging(entries) { _, running in running } }
}
