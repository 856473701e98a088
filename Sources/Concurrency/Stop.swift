import Synchronization

/// Tells tasks and threads to end: finish the current work, begin nothing new.
///
/// A task finds its stop as ``current``, and so do the tasks it starts. A stop under a parent is requested with it, and
/// can be requested before it: that is how one shard of many ends. Stopping is not cancellation: a page that has begun
/// finishes. A wait for an event that may never come is different; ``stoppable(_:)`` cancels it.
package final class Stop: Sendable {
  /// The stop of this task. Outside all services it is never requested.
  @TaskLocal package static var current = Stop()

  private struct State {
    var isRequested = false
    var nextNumber = 0
    var handlers: [Int: @Sendable () -> Void] = [:]
  }

  private let state = Mutex(State())
  private let parent: (stop: Stop, handler: Handler)?

  /// Identifies a handler registered with ``onRequest(_:)``.
  package struct Handler: Hashable, Sendable {
    fileprivate var number: Int
  }

  /// - Parameter parent: requests this stop when it is requested itself.
  package init(under parent: Stop? = nil) {
    guard let parent else {
      self.parent = nil
      return
    }
    // The parent must not keep this stop alive, nor call it before it is initialised.
    let link = Link()
    self.parent = (parent, parent.onRequest { link.request() })
    link.aim(at: self)
  }

  deinit {
    if let parent { parent.stop.forget(parent.handler) }
  }

  package var isRequested: Bool { state.withLock { $0.isRequested } }

  /// Whether the current task is to end: its stop has come, or it was cancelled. What takes turn after turn asks before each.
  package static var isDue: Bool { Task.isCancelled || current.isRequested }

  /// Requests the stop. Safe to repeat.
  package func request() {
    let handlers = state.withLock { state in
      guard !state.isRequested else { return [@Sendable () -> Void]() }
      state.isRequested = true
      defer { state.handlers = [:] }
      return state.handlers.sorted { $0.key < $1.key }.map(\.value)
    }
    for handler in handlers { handler() }
  }

  /// Calls the handler once, on the thread that requests the stop; at once if it has been requested already.
  package func onRequest(_ handler: @escaping @Sendable () -> Void) -> Handler {
    let (handle, isLate) = state.withLock { state in
      state.nextNumber += 1
      if !state.isRequested { state.handlers[state.nextNumber] = handler }
      return (Handler(number: state.nextNumber), state.isRequested)
    }
    if isLate { handler() }
    return handle
  }

  /// Removes a handler. A call that is already running finishes.
  package func forget(_ handler: Handler) {
    _ = state.withLock { $0.handlers.removeValue(forKey: handler.number) }
  }

  /// Runs the body, and all tasks it starts, under this stop.
  package func governing<T>(_ body: () async throws -> T) async rethrows -> T {
    try await Self.$current.withValue(self) { try await body() }
  }

  /// Waits until the stop is requested.
  ///
  /// - Throws: `CancellationError` when the task is cancelled first.
  package func wait() async throws {
    let gate = Gate()
    let handler = onRequest { gate.open(.success(())) }
    defer { forget(handler) }
    try await withTaskCancellationHandler {
      try await gate.pass()
    } onCancel: {
      gate.open(.failure(CancellationError()))
    }
  }

  /// One wait, ended by the stop or a cancellation, whichever comes first.
  private final class Gate: Sendable {
    private enum Position {
      case shut
      case awaited(CheckedContinuation<Void, any Error>)
      case open(Result<Void, any Error>)
    }

    private let position = Mutex(Position.shut)

    func pass() async throws {
      try await withCheckedThrowingContinuation { continuation in
        let result: Result<Void, any Error>? = position.withLock { position in
          if case .open(let result) = position { return result }
          position = .awaited(continuation)
          return nil
        }
        if let result { continuation.resume(with: result) }
      }
    }

    func open(_ result: Result<Void, any Error>) {
      let continuation: CheckedContinuation<Void, any Error>? = position.withLock { position in
        switch position {
        case .open: return nil
        case .shut:
          position = .open(result)
          return nil
        case .awaited(let continuation):
          position = .open(result)
          return continuation
        }
      }
      continuation?.resume(with: result)
    }
  }

  /// Links a parent to a stop under it.
  private final class Link: Sendable {
    private struct Aim {
      weak var stop: Stop?
      var isRequested = false
    }
    private let aim = Mutex(Aim())

    func aim(at stop: Stop) {
      let isLate = aim.withLock { aim in
        aim.stop = stop
        return aim.isRequested
      }
      if isLate { stop.request() }
    }

    func request() {
      let stop = aim.withLock { aim in
        aim.isRequested = true
        return aim.stop
      }
      stop?.request()
    }
  }
}
