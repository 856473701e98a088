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
    /// The number of the latest request that the shard has carried out.
    package var obeyed: Int64 = 0
  }

  /// The shards that run here.
  package private(set) var entries: [ShardName: Entry] = [:]
  private var ended: [ShardName: Entry] = [:]
  /// Whether a state has changed, or a request was carried out, since ``news()`` last returned.
  private var hasNews = false
  private let waiters = Waiters<Void, Void>()

  package init() {}

  /// - Parameter obeyed: the number of the latest request that the shard has carried out; nil for no change.
  package func set(
    _ shard: ShardName, state: ShardState, reason: String?, position: Int64?, obeyed: Int64? = nil
  ) {
    let before = entries[shard]
    let entry = Entry(state: state, reason: reason, position: position, obeyed: obeyed ?? before?.obeyed ?? 0)
    entries[shard] = entry
    if before?.state != entry.state || before?.obeyed != entry.obeyed { tell() }
  }

  package func end(_ shard: ShardName) {
    guard var entry = entries.removeValue(forKey: shard) else { return }
    entry.state = .ended
    entry.reason = nil
    ended[shard] = entry
    tell()
  }

  private func tell() {
    hasNews = true
    waiters.tell()
  }

  /// Returns once a state has changed, or a request was carried out, since the last call.
  func news() async throws {
    while !hasNews { try await waiters.wait() }
    hasNews = false
  }

  /// Includes the shards that ended on this node.
  var all: [ShardName: Entry] { ended.merging(entries) { _, running in running } }
}
