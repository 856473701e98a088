/// Runs a wait and cancels it when the stop is requested; at once if it has been requested already.
///
/// Use it to wait for an event that may never come. Do not run a page in it: a page that has begun finishes.
///
/// - Throws: the wait's error; usually `CancellationError` when the stop or a cancellation ended it.
package func stoppable<T: Sendable>(_ wait: @escaping @Sendable () async throws -> T) async throws -> T {
  // A separate task, since only that can be cancelled without its caller; it costs less than a task group with a second
  // task that watches.
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

/// Waits for a duration, or until the stop or a cancellation if that comes first. It does not report which.
package func rest(for duration: Duration) async {
  try? await stoppable { try await Task.sleep(for: duration) }
}
