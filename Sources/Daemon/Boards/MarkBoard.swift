import Concurrency
import Postgres

/// Where the high-water agent posts the mark, and where every shard waits for it.
///
/// A mark is a fact about one life of the server: after a crash, numbers that were handed out but never reached the disk are handed out
/// again, and a mark proven before may be too high. So a mark carries the moment its proof began, and a shard uses it only on a
/// session that was already open then. A session cannot outlive a crash; therefore no page is ever cut by a mark from an earlier life.
///
/// Only the newest mark is kept; a waiter that is slow sees the newest when it looks.
package actor MarkBoard {
  package struct Mark: Sendable, Hashable {
    package var sequence: Int64
    /// When the reading that proves it began.
    package var provenAt: ContinuousClock.Instant
    /// Which session of the high-water agent proved it; positions read before another one took over may be of another database.
    package var life = 0
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

  /// Takes the mark down: nothing is proven until the next post.
  package func withdraw() {
    current = nil
    life += 1
  }

  /// The first mark that meets the condition, at once if the current one does.
  ///
  /// - Throws: `CancellationError` when the task is cancelled first.
  package func mark(where isMet: @escaping @Sendable (Mark) -> Bool) async throws -> Mark {
    if let current, isMet(current) { return current }
    return try await waiters.wait(for: isMet)
  }
}
