/// Where a projection begins, as its `start` says: a shard that has no position yet, or a rebuild of one that has.
///
/// A rebuild begins where the shard itself began, but never above its current position.
package struct FirstPosition: Sendable {
  package enum Command: Sendable, Hashable {
    /// Begin after this number.
    case begin(after: Int64)
    /// Read a fresh mark: one whose proof begins after now.
    case readMark
    /// Find the number that precedes every event at or after this time.
    case find(time: String)
    /// Wait until no writer is left, and find the highest number handed out.
    case awaitRest
    /// Look up where the shard began.
    case recall
    /// The shard's first position is not on record, and `start` does not tell it.
    case refuse
  }

  private let start: StartPosition
  private let isRebuild: Bool
  /// The projection cannot begin above this: the mark, or the position of the shard to rebuild.
  private var ceiling: Int64?

  /// For a shard that has no position yet.
  package init(ofNew start: StartPosition) {
    self.start = start
    isRebuild = false
  }

  /// For a rebuild.
  ///
  /// - Parameter live: the position of the shard.
  package init(ofRebuild start: StartPosition, at live: Int64) {
    self.start = start
    isRebuild = true
    ceiling = live
  }

  package func begin() -> Command {
    switch start {
    case .beginning: .begin(after: 0)
    case .sequence(let sequence): .begin(after: isRebuild ? atMost(sequence) : sequence)
    // The mark first: an event that becomes visible between the two reads is above it, and so is not missed.
    case .time(let time): isRebuild ? .find(time: time) : .readMark
    case .present: isRebuild ? .recall : .readMark
    // The application made the read model from all events before the shard took over.
    case .inlineHandover: isRebuild ? .begin(after: 0) : .awaitRest
    }
  }

  package mutating func markRead(_ mark: Int64) -> Command {
    ceiling = mark
    if case .time(let time) = start { return .find(time: time) }
    return .begin(after: mark)
  }

  /// - Parameter position: nil if there is no event since then.
  package func found(_ position: Int64?) -> Command {
    guard let position else {
      // It begins after the newest event: the one of now, or, in a rebuild, the one of then.
      return isRebuild ? .recall : .begin(after: atMost(.max))
    }
    return .begin(after: atMost(position))
  }

  package func atRest(_ handedOut: Int64) -> Command { .begin(after: handedOut) }

  /// - Parameter first: nil if it is not on record.
  package func recalled(_ first: Int64?) -> Command {
    if let first { return .begin(after: atMost(first)) }
    return start == .present ? .refuse : .begin(after: atMost(.max))
  }

  private func atMost(_ position: Int64) -> Int64 { ceiling.map { min(position, $0) } ?? position }
}
