import Concurrency
import Postgres

/// Where the high-water agent posts the mark, and where every shard waits for it.
///
/// A mark holds for one life of the server: after a crash, the server issues numbers again that never reached the disk, and a mark proven
/// before may be too high. So a mark carries the moment its proof began, and a shard uses it only on a session that was already open
/// then. No session survives a crash, so no page is ever cut by a mark from an earlier life.
///
/// The board keeps only the newest mark; a slow waiter skips the ones before it.
package actor MarkBoard {
  package struct Mark: Sendable, Hashable {
    package var sequence: Int64
    /// When the read that proves it began.
    package var provenAt: ContinuousClock.Instant
    /// The session of the high-water agent that proved it. Positions read before the next session began may belong to another database.
    package var life = 0
    /// It stands at the last number handed out: nothing is outstanding above it.
    package var isAtTip = true
  }

  package private(set) var current: Mark?
  package private(set) var life = 0
  private let waiters = Waiters<@Sendable (Mark) -> Bool, Mark>()

  package init() {}

  package func post(_ mark: Mark) {
    var mark = mark
    mark.life = life
    current = mark
    waiters.tell(mark) { isMet in isMet(mark) }
  }

  /// Removes the mark: nothing is proven until the next post.
  package func withdraw() {
    current = nil
    life += 1
  }

  /// Returns the first mark that meets the condition, at once if the current one does.
  ///
  /// - Throws: `CancellationError` when the task is cancelled first.
  package func mark(where isMet: @escaping @Sendable (Mark) -> Bool) async throws -> Mark {
    if let current, isMet(current) { return current }
    return try await waiters.wait(for: isMet)
  }
}
