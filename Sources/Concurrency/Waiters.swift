import Synchronization

/// A queue of waiting tasks, in the order of their requests; a cancelled task leaves it at once.
///
/// An actor keeps one next to the state that the tasks wait for. ``wait(for:isolation:)`` registers its request before it
/// leaves the actor, so a change after the actor's look at the state always finds the wait.
package final class Waiters<Request: Sendable, Answer: Sendable>: Sendable {
  private struct Waiter {
    var id: Int
    var request: Request
    /// Nil until the task is suspended.
    var continuation: CheckedContinuation<Answer, any Error>?
  }

  private struct State {
    var nextID = 0
    var waiting: [Waiter] = []
    /// Outcomes of waits that ended before their tasks were suspended.
    var early: [Int: Result<Answer, any Error>] = [:]
  }

  private let state = Mutex(State())

  package init() {}

  /// Waits until ``tell(_:where:)``, ``tellFirst(_:)`` or ``fail(_:)`` ends this wait.
  ///
  /// - Throws: `CancellationError` when the task is cancelled first, or the error given to ``fail(_:)``.
  package func wait(for request: Request, isolation: isolated (any Actor)? = #isolation) async throws -> Answer {
    // The closures below may already run off the actor.
    let id = state.withLock { state in
      state.nextID += 1
      state.waiting.append(Waiter(id: state.nextID, request: request))
      return state.nextID
    }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { suspend(id, $0) }
    } onCancel: {
      cancel(id)
    }
  }

  private func suspend(_ id: Int, _ continuation: CheckedContinuation<Answer, any Error>) {
    let outcome = state.withLock { state in
      if let place = state.waiting.firstIndex(where: { $0.id == id }) {
        state.waiting[place].continuation = continuation
      }
      return state.early.removeValue(forKey: id)
    }
    if let outcome { continuation.resume(with: outcome) }
  }

  /// Ends the wait of every task whose request is met.
  package func tell(_ answer: Answer, where isMet: (Request) -> Bool = { _ in true }) {
    end(.success(answer)) { $0.remove { isMet($0.request) } }
  }

  /// Ends the wait of the task that has waited longest; false if no task waits.
  package func tellFirst(_ answer: Answer) -> Bool {
    end(.success(answer)) { $0.isEmpty ? [] : [$0.removeFirst()] }
  }

  /// Ends every wait with an error.
  package func fail(_ error: any Error) { end(.failure(error)) { $0.remove { _ in true } } }

  private func cancel(_ id: Int) { end(.failure(CancellationError())) { $0.remove { $0.id == id } } }

  /// Ends the waits that `take` removes; false if there are none.
  @discardableResult
  private func end(_ outcome: Result<Answer, any Error>, _ take: (inout [Waiter]) -> [Waiter]) -> Bool {
    let ended = state.withLock { state in
      let ended = take(&state.waiting)
      for waiter in ended where waiter.continuation == nil { state.early[waiter.id] = outcome }
      return ended
    }
    for waiter in ended { waiter.continuation?.resume(with: outcome) }
    return !ended.isEmpty
  }
}

extension Array {
  /// Removes the elements that are meant, and returns them.
  fileprivate mutating func remove(where isMeant: (Element) -> Bool) -> [Element] {
    let removed = filter(isMeant)
    removeAll(where: isMeant)
    return removed
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
