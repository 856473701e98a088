/// Before which event a projection begins, as its `start` says: of a shard that has no position yet, and of a rebuild of one that has.
///
/// A rebuild begins where the shard itself once began, but never above where it is now.
package struct FirstPosition: Sendable {
  package enum Command: Sendable, Hashable {
    /// Begin after this number.
    case begin(after: Int64)
    /// Look at the newest mark: one whose proof begins after now.
    case readMark
    /// Find the number after which every event at or after this time comes.
    case find(time: String)
    /// Wait until no writer is left, and find the highest number that was handed out.
    case awaitRest
    /// Look up where the shard began.
    case recall
    /// Where the shard began is not on record, and cannot be told from `start`.
    case refuse
  }

  private let start: StartPosition
  private let isRebuild: Bool
  /// What the projection cannot begin above: the mark, or the position of the shard that is rebuilt.
  private var ceiling: Int64?

  /// Of a shard that has no position yet.
  package init(ofNew start: StartPosition) {
    self.start = start
    isRebuild = false
  }

  /// Of a rebuild.
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
    // The mark first: an event that becomes visible between the two looks is above it, and so not left out.
    case .time(let time): isRebuild ? .find(time: time) : .readMark
    case .present: isRebuild ? .recall : .readMark
    // A read model that was taken over from the application was made of all events.
    case .inlineHandover: isRebuild ? .begin(after: 0) : .awaitRest
    }
  }

  package mutating func markRead(_ mark: Int64) -> Command {
    ceiling = mark
    if case .time(let time) = start { return .find(time: time) }
    return .begin(after: mark)
  }

  /// - Parameter position: nil where there is no event since then.
  package func found(_ position: Int64?) -> Command {
    guard let position else {
      // It begins after the newest event there is, or, in a rebuild, there was.
      return isRebuild ? .recall : .begin(after: atMost(.max))
    }
    return .begin(after: atMost(position))
  }

  package func atRest(_ handedOut: Int64) -> Command { .begin(after: handedOut) }

  /// - Parameter first: nil where it is not on record.
  package func recalled(_ first: Int64?) -> Command {
    if let first { return .begin(after: atMost(first)) }
    return start == .present ? .refuse : .begin(after: atMost(.max))
  }

  private func atMost(_ position: Int64) -> Int64 { ceiling.map { min(position, $0) } ?? position }
}
