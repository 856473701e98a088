import Books
import Concurrency
import Rules

/// The shards with a rebuild for this node to run, and the place where their agents wait for one.
package actor RebuildBoard {
  private var shards: Set<ShardName> = []
  private let waiters = Waiters<ShardName, Void>()

  package init() {}

  /// Takes the requests from the database.
  func take(_ requests: [String: ShardRequests.Entry], among declared: [ShardName]) {
    shards = Set(declared.filter { requests["\($0)"]?.wantsRebuild == true })
    waiters.tell(where: shards.contains)
  }

  /// Returns when a rebuild of the shard is requested.
  func wanted(_ shard: ShardName) async throws {
    if !shards.contains(shard) { try await waiters.wait(for: shard) }
  }

  /// Forgets the shard until the requests are read again.
  func taken(_ shard: ShardName) { shards.remove(shard) }
}
