import Concurrency
import Rules

/// The halts of each shard, and the place where shards wait for them to change: performs the rule ``Halts``.
///
/// A rebuild that needs a shard to wait is blocked here until the shard's agent confirms it.
package actor RequestBoard {
  private var rule = Halts()
  private let waiters = Waiters<Void, Void>()
  /// The shards whose agents run on this node, and those of them that wait for a rebuild.
  private var running: Set<ShardName> = []
  private var still: Set<ShardName> = []
  private let holders = Waiters<ShardName, Void>()

  package init() {}

  /// Returns once the requests have been read from the database.
  func untilKnown() async throws {
    while !rule.isKnown { try await waiters.wait() }
  }

  /// The halt that keeps a shard from running now, and its revision, which changes with every new request.
  func current(_ shard: ShardName) -> (halt: Halt?, revision: Halts.Revision) { rule.current(shard, at: .now) }

  /// The number of the latest request; read it before ``current(_:)``, which then heeds it.
  func serial(of shard: ShardName) -> Int64 { rule.serial(of: shard) }

  /// Returns when the shard's revision changes.
  func change(_ shard: ShardName, from revision: Halts.Revision) async throws {
    while current(shard).revision == revision { try await waiters.wait() }
  }

  /// Takes the requests from the database.
  func take(_ requests: [String: OperatorRequest]) {
    if rule.take(requests, at: .now) { waiters.tell() }
  }

  /// Halts every shard of this node in this database, because of an `[[on_error]]` rule.
  ///
  /// - Parameters:
  ///   - length: the length of a pause; nil for a stop.
  ///   - failure: the failure of the shard.
  func haltAll(for length: Duration?, because failure: String, in shard: ShardName) {
    if rule.haltAll(for: length, because: failure, in: shard, at: .now) { waiters.tell() }
  }

  // MARK: Rebuilds

  /// Makes a shard wait, and returns once it has finished its current page, or at once if it does not run on this node.
  ///
  /// - Throws: `CancellationError` when the task is cancelled first; the shard then continues.
  func hold(_ shard: ShardName) async throws {
    if rule.hold(shard, true) { waiters.tell() }
    do {
      while running.contains(shard), !still.contains(shard) { try await holders.wait(for: shard) }
    } catch {
      release(shard)
      throw error
    }
  }

  /// Lets a shard continue at its position.
  func release(_ shard: ShardName) {
    // The next hold may come at once, and must wait until the shard confirms it.
    still.remove(shard)
    if rule.hold(shard, false) { waiters.tell() }
  }

  /// Called when the shard's agent starts on this node; from then on it confirms holds.
  func began(_ shard: ShardName) { running.insert(shard) }

  /// Called by the shard's agent between two pages; it begins no page until its revision changes.
  func standsStill(_ shard: ShardName, at revision: Halts.Revision) {
    let now = current(shard)
    guard now.revision == revision, now.halt?.source == .rebuild else { return }
    still.insert(shard)
    tellHolders(of: shard)
  }

  /// Called when the shard's agent has ended on this node.
  func ended(_ shard: ShardName) {
    running.remove(shard)
    still.remove(shard)
    tellHolders(of: shard)
  }

  private func tellHolders(of shard: ShardName) { holders.tell { $0 == shard } }
}
