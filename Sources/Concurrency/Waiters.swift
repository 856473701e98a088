import Synchronization

/// Tasks that wait to be told something, in the order of asking; one that is cancelled leaves at once.
///
/// An actor keeps one beside the state that is waited for. ``wait(for:isolation:)`` begins without letting go of the actor, so nothing
/// can change between its look at that state and the wait.
package final class Waiters<Wish: Sendable, Word: Sendable>: Sendable {
  private struct Waiter {
    var id: Int
    var wish: Wish
    var continuation: CheckedContinuation<Word, any Error>
  }

  private struct State {
    var nextID = 0
    var waiting: [Waiter] = []
  }

  private let state = Mutex(State())

  package init() {}

  /// Waits until ``tell(_:where:)`` or another of its kind means this waiter.
  ///
  /// - Throws: `CancellationError` when the task is cancelled first, or what ``fail(_:)`` was given.
  package func wait(for wish: Wish, isolation: isolated (any Actor)? = #isolation) async throws -> Word {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        state.withLock { $0.waiting.append(Waiter(id: id, wish: wish, continuation: continuation)) }
        // Who was cancelled before it waited was not found here then.
        if Task.isCancelled { cancel(id) }
      }
    } onCancel: {
      cancel(id)
    }
  }

  /// Ends the wait of all that wish for it.
  package func tell(_ word: Word, where isMet: (Wish) -> Bool = { _ in true }) {
    for waiter in take(where: { isMet($0.wish) }) { waiter.continuation.resume(returning: word) }
  }

  /// Ends the wait of whoever waits longest; false when nobody waits.
  package func tellFirst(_ word: Word) -> Bool {
    let first = state.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
    first?.continuation.resume(returning: word)
    return first != nil
  }

  /// Ends every wait with an error.
  package func fail(_ error: any Error) {
    for waiter in take(where: { _ in true }) { waiter.continuation.resume(throwing: error) }
  }

  private func cancel(_ id: Int) {
    for waiter in take(where: { $0.id == id }) { waiter.continuation.resume(throwing: CancellationError()) }
  }

  private func take(where isMeant: (Waiter) -> Bool) -> [Waiter] {
    state.withLock { state in
      let taken = state.waiting.filter(isMeant)
      state.waiting.removeAll(where: isMeant)
      return taken
    }
  }
}

extension Waiters where Wish == Void {
  package func wait(isolation: isolated (any Actor)? = #isolation) async throws -> Word {
    try await wait(for: (), isolation: isolation)
  }
}

extension Waiters where Word == Void {
  package func tell(where isMet: (Wish) -> Bool = { _ in true }) { tell((), where: isMet) }
}
