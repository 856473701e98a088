import Concurrency
import Synchronization
import Testing

/// Runs until its stop is requested or it is cancelled, and records which.
private final class Waiting: Service {
  enum End: Sendable { case stopped, cancelled }

  let isDeaf: Bool
  let error: (any Error)?
  let ends = Mutex<[End]>([])
  let runs = Stop()

  init(isDeaf: Bool = false, throwing error: (any Error)? = nil) {
    self.isDeaf = isDeaf
    self.error = error
  }

  func run() async throws {
    runs.request()
    do {
      if isDeaf { try await Task.sleep(for: .seconds(60)) } else { try await Stop.current.wait() }
    } catch {
      ends.withLock { $0.append(.cancelled) }
      throw error
    }
    ends.withLock { $0.append(.stopped) }
    if let error { throw error }
  }
}

private struct Trouble: Error {}

@Suite struct `A running service` {
  @Test func `ends alone when it is told to`() async throws {
    let stop = Stop()
    let (one, other) = (Waiting(), Waiting())
    let (first, second) = (ServiceRun(one, under: stop), ServiceRun(other, under: stop))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await first.run() }
      group.addTask { try await second.run() }
      try await one.runs.wait()
      first.end()
      try await group.next()
      #expect(one.ends.withLock { $0 } == [.stopped] && other.ends.withLock { $0 } == [])
      stop.request()
      try await group.next()
      #expect(other.ends.withLock { $0 } == [.stopped])
    }
  }

  @Test func `throws no error when its cancellation was requested`() async throws {
    let service = Waiting(isDeaf: true)
    let run = ServiceRun(service)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await run.run() }
      try await service.runs.wait()
      run.end()
      run.cancel()
      try await group.next()
    }
    #expect(service.ends.withLock { $0 } == [.cancelled])
  }

  @Test func `is cancelled when its patience is over`() async throws {
    let service = Waiting(isDeaf: true)
    let run = ServiceRun(service, patience: .milliseconds(50))
    run.end()
    try await run.run()
    #expect(service.ends.withLock { $0 } == [.cancelled])
  }

  @Test func `is cancelled with the task that runs it`() async throws {
    let service = Waiting(isDeaf: true)
    let running = Task { try await ServiceRun(service, patience: .seconds(60)).run() }
    try await service.runs.wait()
    running.cancel()
    await #expect(throws: CancellationError.self) { try await running.value }
    #expect(service.ends.withLock { $0 } == [.cancelled])
  }

  @Test func `passes on its own error`() async throws {
    let run = ServiceRun(Waiting(throwing: Trouble()))
    run.end()
    await #expect(throws: Trouble.self) { try await run.run() }
  }
}

@Suite struct `A group of services` {
  @Test func `accepts another service while it runs, and none after its stop`() async throws {
    let stop = Stop()
    let group = ServiceGroup()
    let (early, late, tooLate) = (Waiting(), Waiting(), Waiting())
    #expect(group.add(early))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await stop.governing { try await group.run() } }
      try await early.runs.wait()
      #expect(group.add(late))
      try await late.runs.wait()
      stop.request()
      try await tasks.waitForAll()
    }
    #expect(early.ends.withLock { $0 } == [.stopped] && late.ends.withLock { $0 } == [.stopped])
    #expect(!group.add(tooLate) && !tooLate.runs.isRequested)
  }

  @Test func `continues when one service ends, and ends when one fails`() async throws {
    let group = ServiceGroup()
    let (one, other, failing) = (Waiting(), Waiting(), Waiting(throwing: Trouble()))
    let (first, third) = (ServiceRun(one), ServiceRun(failing))
    group.add(RunOf(first))
    group.add(other)
    group.add(RunOf(third))
    let running = Task { try await group.run() }
    try await one.runs.wait()
    first.end()
    try await other.runs.wait()
    third.end()
    await #expect(throws: Trouble.self) { try await running.value }
    #expect(one.ends.withLock { $0 } == [.stopped] && other.ends.withLock { $0 } == [.cancelled])
  }

  private struct RunOf: Service {
    let run: ServiceRun
    init(_ run: ServiceRun) { self.run = run }
    func run() async throws { try await run.run() }
  }
}
