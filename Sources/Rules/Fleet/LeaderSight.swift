/// Whether a node that leads shards sees a mark: without one it hands its shards to the others.
package struct LeaderSight: Sendable {
  /// A node that has no mark for this long hands its shards to the others. Its lock session may still work while its other sessions do
  /// not, when `url` takes another route than `lock_url`.
  package static let longestBlindness = Duration.seconds(15)

  package private(set) var isBlind = false
  private var sawAt: ContinuousClock.Instant

  package init(at now: ContinuousClock.Instant) { sawAt = now }

  /// - Returns: whether the node has just become blind.
  package mutating func look(hasMark: Bool, at now: ContinuousClock.Instant) -> Bool {
    if hasMark { sawAt = now }
    let wasBlind = isBlind
    isBlind = now - sawAt > Self.longestBlindness
    return isBlind && !wasBlind
  }
}
