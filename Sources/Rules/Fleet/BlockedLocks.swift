/// Which locks another session has held for long enough to report it.
package struct BlockedLocks: Sendable {
  /// A node that hands a shard over finishes its page first, so a lock is reported only after this long.
  static let after = Duration.seconds(2)
  /// Between two reports, since each one has to look up the holder of the lock.
  static let distance = Duration.seconds(1)

  private var since: [ShardName: ContinuousClock.Instant] = [:]
  private var toldAt: ContinuousClock.Instant?

  package init() {}

  /// - Parameter blocked: the locks that this node wants and another session holds now.
  package mutating func due(_ blocked: [ShardName], at now: ContinuousClock.Instant) -> [ShardName] {
    since = Dictionary(uniqueKeysWithValues: blocked.map { ($0, since[$0] ?? now) })
    guard toldAt.map({ now - $0 >= Self.distance }) ?? true else { return [] }
    let due = blocked.filter { now - since[$0]! >= Self.after }
    if !due.isEmpty { toldAt = now }
    return due
  }
}
