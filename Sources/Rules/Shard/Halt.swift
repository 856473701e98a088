/// What keeps a shard from running though nothing failed in it: an operator's word, a rule for all shards, or a rebuild.
package struct Halt: Sendable, Hashable {
  package enum Source: Sendable, Hashable, CustomStringConvertible {
    /// By the name that goes with the request.
    case `operator`(String)
    /// A rule of the settings for all shards of the node; in which shard something failed, and what.
    case rule(ShardName, failure: String)
    /// A rebuild that moves the shard's position, or whose events belong before the shard's own.
    case rebuild

    /// For the log and `status`; no decision is made by it.
    package var description: String {
      switch self {
      case .operator(let name): name
      case .rule(let shard, let failure): "a rule, for \(shard): \(failure)"
      case .rebuild: "a rebuild"
      }
    }
  }

  package enum Length: Sendable, Hashable {
    /// Until another word comes; nil where only that ends it.
    case pause(until: ContinuousClock.Instant?)
    case stop
  }

  package var length: Length
  package var source: Source

  package init(_ length: Length, by source: Source) {
    self.length = length
    self.source = source
  }

  package var state: ShardState {
    switch length {
    case .pause: .paused
    case .stop: .stopped
    }
  }

  /// When it ends by itself; nil where it does not.
  package var end: ContinuousClock.Instant? {
    switch length {
    case .pause(let end): end
    case .stop: nil
    }
  }

  /// Whether a rule of the settings wants it, and no operator or rebuild.
  package var isByRule: Bool {
    switch source {
    case .rule: true
    case .operator, .rebuild: false
    }
  }

  func isOver(at now: ContinuousClock.Instant) -> Bool { end.map { $0 <= now } ?? false }
}
