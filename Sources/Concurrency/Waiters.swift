import Synchronization

/// A queue of waiting tasks, in the order of their requests; a cancelled task leaves it at once.
///
/// An actor keeps one next to the state that the tasks wait for. ``wait(for:isolation:)`` begins without leaving the
/// actor, so the state cannot change between the actor's look at it and the wait.
package final class Waiters<Request: Sendable, Answer: Sendable>: Sendable {
  private struct Waiter {
    var id: Int
    var request: Request
    var continuation: CheckedContinuation<Answer, any Error>
  }

  private struct State {
    var nextID = 0
    var waiting: [Waiter] = []
  }

  private let state = Mutex(State())

  package init() {}

  /// Waits until ``tell(_:where:)``, ``tellFirst(_:)`` or ``fail(_:)`` ends this wait.
  ///
  /// - Throws: `CancellationError` when the task is cancelled first, or the error given to ``fail(_:)``.
  package func wait(for request: Request, isolation: isolated (any Actor)? = #isolation) async throws -> Answer {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        state.withLock { $0.waiting.append(Waiter(id: id, request: request, continuation: continuation)) }
        // A cancellation that came before the wait did not find it.
        if Task.isCancelled { cancel(id) }
      }
    } onCancel: {
      cancel(id)
    }
  }

  /// Ends the wait of every task whose request is met.
  package func tell(_ answer: Answer, where isMet: (Request) -> Bool = { _ in true }) {
    for waiter in take(where: { isMet($0.request) }) { waiter.continuation.resume(returning: answer) }
  }

  /// Ends the wait of the task that has waited longest; false if no task waits.
  package func tellFirst(_ answer: Answer) -> Bool {
    let first = state.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
    first?.continuation.resume(returning: answer)
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

extension Waiters where Request == Void {
  package func wait(isolation: isolated (any Actor)? = #isolation) async throws -> Answer {
    try await wait(for: (), isolation: isolation)
  }
}

extension Waiters where Answer == Void {
  package func tell(where isMet: (Request) -> Bool = { _ in true }) { tell((), where: isMet) }
}
