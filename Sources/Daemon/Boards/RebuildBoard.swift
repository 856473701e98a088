import Books
import Concurrency
import Rules

/// Which shards have a rebuild that a node is to work on, and where their agents wait for one.
package actor RebuildBoard {
  private var shards: Set<ShardName> = []
  private let waiters = Waiters<ShardName, Void>()

  package init() {}

  /// Takes over what the database says.
  func take(_ requests: [String: ShardRequests.Entry], among declared: [ShardName]) {
    shards = Set(declared.filter { requests["\($0)"]?.wantsRebuild == true })
    waiters.tell(where: shards.contains)
  }

  /// Returns when a rebuild of the shard is wanted.
  func wanted(_ shard: ShardName) async throws {
    if !shards.contains(shard) { try await waiters.wait(for: shard) }
  }

  /// What was posted of the shard is old: the next look decides.
  func taken(_ shard: ShardName) { shards.remove(shard) }
}
