import Concurrency
import Rules

/// What is wanted of each shard, and where shards wait for that to change: performs the rule ``Halts``.
///
/// A rebuild that asks a shard to stand still waits here too, until the shard answers.
package actor RequestBoard {
  private var rule = Halts()
  private let waiters = Waiters<Void, Void>()
  /// The shards whose agents run here, and those of them that stand still for a rebuild.
  private var running: Set<ShardName> = []
  private var still: Set<ShardName> = []
  private let holders = Waiters<ShardName, Void>()

  package init() {}

  /// Returns once the database has said what is requested.
  func untilKnown() async throws {
    while !rule.isKnown { try await waiters.wait() }
  }

  /// What keeps a shard from running now, and the revision of that, which changes when something new is said.
  func current(_ shard: ShardName) -> (halt: Halt?, revision: Halts.Revision) { rule.current(shard, at: .now) }

  /// Returns when the shard's revision is another one.
  func change(_ shard: ShardName, from revision: Halts.Revision) async throws {
    while current(shard).revision == revision { try await waiters.wait() }
  }

  /// Takes over what the database says.
  func take(_ requests: [String: OperatorRequest]) {
    if rule.take(requests, at: .now) { waiters.tell() }
  }

  /// For every shard of this node in this database, by a rule of the operator's.
  ///
  /// - Parameters:
  ///   - length: of a pause; nil is a stop.
  ///   - failure: what failed in the shard.
  func haltAll(for length: Duration?, because failure: String, in shard: ShardName) {
    if rule.haltAll(for: length, because: failure, in: shard, at: .now) { waiters.tell() }
  }

  // MARK: Rebuilds

  /// Makes a shard stand still, and returns when it does, or does not run here: after the page it is in.
  ///
  /// - Throws: `CancellationError` when the task is cancelled first; the shard goes on then.
  func hold(_ shard: ShardName) async throws {
    if rule.hold(shard, true) { waiters.tell() }
    do {
      while running.contains(shard), !still.contains(shard) { try await holders.wait(for: shard) }
    } catch {
      release(shard)
      throw error
    }
  }

  /// Lets a shard go on, from where its position then is.
  func release(_ shard: ShardName) {
    // Another hold, which may come at once, waits for the shard's own word again.
    still.remove(shard)
    if rule.hold(shard, false) { waiters.tell() }
  }

  /// The shard's agent runs here from now on, and will answer.
  func began(_ shard: ShardName) { running.insert(shard) }

  /// The shard's agent is between two pages, and begins none before its revision is another one.
  func standsStill(_ shard: ShardName, at revision: Halts.Revision) {
    let now = current(shard)
    guard now.revision == revision, now.halt?.source == .rebuild else { return }
    still.insert(shard)
    tellHolders(of: shard)
  }

  /// The shard's agent has ended here.
  func ended(_ shard: ShardName) {
    running.remove(shard)
    still.remove(shard)
    tellHolders(of: shard)
  }

  private func tellHolders(of shard: ShardName) { holders.tell { $0 == shard } }
}
