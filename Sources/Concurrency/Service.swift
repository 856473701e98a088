import Synchronization

/// A long-lived activity: it runs until its ``Stop`` is requested, finishes its current work, and returns.
package protocol Service: Sendable {
  func run() async throws
}

/// Runs one service under a stop of its own, so that it can end while others keep running.
package final class ServiceRun: Sendable {
  private let service: any Service
  private let patience: Duration?
  private let stop: Stop
  /// Requested to end the service in the middle of its work.
  private let cancellation = Stop()

  /// - Parameters:
  ///   - stop: ends the service too.
  ///   - patience: how long the service may take to end before it is cancelled; nil sets no limit.
  package init(_ service: any Service, under stop: Stop? = nil, patience: Duration? = nil) {
    self.service = service
    self.patience = patience
    self.stop = Stop(under: stop)
  }

  /// Asks the service to finish its current work and return.
  package func end() { stop.request() }

  /// Cancels the service in the middle of its work.
  package func cancel() { cancellation.request() }

  /// Runs the service to its end.
  ///
  /// - Throws: the service's error. An error after a cancellation is expected and not passed on.
  package func run() async throws {
    try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask { [service, stop] in
        try await stop.governing { try await service.run() }
        return true
      }
      group.addTask { [cancellation] in
        try? await cancellation.wait()
        return false
      }
      if let patience {
        group.addTask { [stop] in
          try? await stop.wait()
          try? await Task.sleep(for: patience)
          return false
        }
      }
      // The first to finish decides.
      let hasEnded = try await group.next()!
      group.cancelAll()
      // Except for the service, the others end at once and without an error.
      if !hasEnded { while await group.nextResult() != nil {} }
    }
    // A cancelled caller must not take the end for a success.
    try Task.checkCancellation()
  }
}

/// Runs services concurrently; more can be added at any time.
package final class ServiceGroup: Service {
  private let arrivals: AsyncStream<any Service>
  private let arrival: AsyncStream<any Service>.Continuation

  package init() { (arrivals, arrival) = AsyncStream.makeStream() }

  /// Runs the service as soon as the group runs.
  ///
  /// - Returns: false if the group has been told to stop, so that the service never runs.
  @discardableResult
  package func add(_ service: any Service) -> Bool {
    if case .enqueued = arrival.yield(service) { true } else { false }
  }

  /// Runs until the stop is requested and every service has ended; one that throws cancels the others.
  package func run() async throws {
    let stop = Stop.current
    let handler = stop.onRequest { [arrival] in arrival.finish() }
    defer {
      stop.forget(handler)
      arrival.finish()
    }
    try await withThrowingDiscardingTaskGroup { group in
      for await service in arrivals {
        group.addTask { [arrival] in
          do {
            try await service.run()
          } catch {
            // The group cancels its tasks, but not this loop.
            arrival.finish()
            throw error
          }
        }
      }
    }
  }
}

/// Runs services concurrently, and returns when all have ended; one that throws cancels the others.
package func runTogether(_ services: [any Service]) async throws {
  try await withThrowingTaskGroup(of: Void.self) { group in
    for service in services { group.addTask { try await service.run() } }
    for try await _ in group {}
  }
}
