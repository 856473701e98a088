/// Runs a wait that ends when the stop comes: what it does is cancelled then, and at once where the stop has been requested already.
///
/// For what may never come by itself. A page under way does not belong in here; it is let finish.
///
/// - Throws: what the wait throws; `CancellationError` as a rule when the stop or a cancellation ended it.
package func stoppable<T: Sendable>(_ wait: @escaping @Sendable () async throws -> T) async throws -> T {
  // A task of its own, since only that can be cancelled without its caller; it costs less than a group with a task that watches.
  let task = Task { try await wait() }
  let stop = Stop.current
  let handler = stop.onRequest { task.cancel() }
  defer { stop.forget(handler) }
  return try await withTaskCancellationHandler {
    try await task.value
  } onCancel: {
    task.cancel()
  }
}

/// Waits for so long, or until the stop or a cancellation if that comes first. It does not say which.
package func rest(for duration: Duration) async {
  try? await stoppable { try await Task.sleep(for: duration) }
}
