/// Keeps a shard from running though it did not fail itself: at the request of an operator, a rule for all shards, or a rebuild.
package struct Halt: Sendable, Hashable {
  package enum Source: Sendable, Hashable, CustomStringConvertible {
    /// With the name in the request.
    case `operator`(String)
    /// A rule in the settings that applies to all shards of the node; with the shard that failed, and its failure.
    case rule(ShardName, failure: String)
    /// A rebuild that moves the shard's position, or whose events come before the shard's next ones.
    case rebuild

    /// For the log and `status` only; no code decides by it.
    package var description: String {
      switch self {
      case .operator(let name): name
      case .rule(let shard, let failure): "a rule, for \(shard): \(failure)"
      case .rebuild: "a rebuild"
      }
    }
  }

  package enum Length: Sendable, Hashable {
    /// Until this time or another request; nil for until another request.
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

  /// When it expires; nil if it does not.
  package var end: ContinuousClock.Instant? {
    switch length {
    case .pause(let end): end
    case .stop: nil
    }
  }

  /// Whether it comes from a rule in the settings, and not from an operator or a rebuild.
  package var isByRule: Bool {
    switch source {
    case .rule: true
    case .operator, .rebuild: false
    }
  }

  func isOver(at now: ContinuousClock.Instant) -> Bool { end.map { $0 <= now } ?? false }
}
