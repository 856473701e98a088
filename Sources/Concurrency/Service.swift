import Synchronization

/// Something long-lived: it runs until the ``Stop`` it belongs to comes, finishes what is under way, and returns.
package protocol Service: Sendable {
  func run() async throws
}

/// One service at work under a stop of its own, so that it can be ended while those beside it go on.
package final class ServiceRun: Sendable {
  private let service: any Service
  private let patience: Duration?
  private let stop: Stop
  /// Comes when the service is to end wherever it is.
  private let cancellation = Stop()

  /// - Parameters:
  ///   - stop: ends the service too.
  ///   - patience: how long it may take to end before it is cancelled; nil is for ever.
  package init(_ service: any Service, under stop: Stop? = nil, patience: Duration? = nil) {
    self.service = service
    self.patience = patience
    self.stop = Stop(under: stop)
  }

  /// Asks it to finish what is under way, and to return.
  package func end() { stop.request() }

  /// Cancels it, in the middle of whatever it does.
  package func cancel() { cancellation.request() }

  /// Runs the service to its end.
  ///
  /// - Throws: what the service throws. What it throws once it was cancelled was asked for, and is not passed on.
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
      // The first to come decides.
      let hasEnded = try await group.next()!
      group.cancelAll()
      // Of the others all but the service end without an error, and without a wait.
      if !hasEnded { while await group.nextResult() != nil {} }
    }
    // A caller that was cancelled was waiting for an end, and not for a success.
    try Task.checkCancellation()
  }
}

/// Services side by side, of which one can be added at any time.
package final class ServiceGroup: Service {
  private let arrivals: AsyncStream<any Service>
  private let arrival: AsyncStream<any Service>.Continuation

  package init() { (arrivals, arrival) = AsyncStream.makeStream() }

  /// Runs the service as soon as the group runs.
  ///
  /// - Returns: false where the group has been told to stop, and the service never runs.
  @discardableResult
  package func add(_ service: any Service) -> Bool {
    if case .enqueued = arrival.yield(service) { true } else { false }
  }

  /// Runs until the stop has come and every service has ended; one that throws cancels the others.
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
            // The group cancels its tasks, and not this loop.
            arrival.finish()
            throw error
          }
        }
      }
    }
  }
}

/// Runs services side by side, and returns when all have ended; one that throws cancels the others.
package func runTogether(_ services: [any Service]) async throws {
  try await withThrowingTaskGroup(of: Void.self) { group in
    for service in services { group.addTask { try await service.run() } }
    for try await _ in group {}
  }
}
