/// Whether a node that leads shards sees a mark: without one it leaves its shards to the others.
package struct LeaderSight: Sendable {
  /// A node that has no mark for this long leaves its shards to others: its lock session works, and the others do not, where `url` goes
  /// another way than `lock_url`.
  package static let longestBlindness = Duration.seconds(15)

  package private(set) var isBlind = false
  private var sawAt: ContinuousClock.Instant

  package init(at now: ContinuousClock.Instant) { sawAt = now }

  /// - Returns: whether the node has become blind just now.
  package mutating func look(hasMark: Bool, at now: ContinuousClock.Instant) -> Bool {
    if hasMark { sawAt = now }
    let wasBlind = isBlind
    isBlind = now - sawAt > Self.longestBlindness
    return isBlind && !wasBlind
  }
}
