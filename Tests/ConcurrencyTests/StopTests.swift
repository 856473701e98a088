import Concurrency
import Glibc
import Synchronization
import Testing

@Suite struct `A stop` {
  @Test func `ends all waits for it, and waits that begin later`() async throws {
    let stop = Stop()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<100 { group.addTask { try await stop.wait() } }
      stop.request()
      stop.request()
      try await group.waitForAll()
    }
    try await stop.wait()
    #expect(stop.isRequested)
  }

  /// A wakeup could be lost between checking the stop and waiting for it.
  @Test func `is never missed by a wait that begins at the same moment`() async throws {
    for _ in 0..<5_000 {
      let stop = Stop()
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await stop.wait() }
        group.addTask { stop.request() }
        try await group.waitForAll()
      }
    }
  }

  @Test func `ends a cancelled wait`() async {
    let wait = Task { try await Stop().wait() }
    wait.cancel()
    await #expect(throws: CancellationError.self) { try await wait.value }
  }

  @Test func `is requested with its parent, but not the other way round`() async throws {
    let (above, other) = (Stop(), Stop())
    let below = Stop(under: above)
    let lowest = Stop(under: below)
    _ = Stop(under: other)
    lowest.request()
    #expect(!below.isRequested && !above.isRequested)
    above.request()
    #expect(below.isRequested && !other.isRequested)
    #expect(Stop(under: above).isRequested, "one created after the request")
  }

  @Test func `with a parent is released with its last reference`() {
    let above = Stop()
    weak var below: Stop?
    do {
      let made = Stop(under: above)
      below = made
      #expect(below != nil)
      withExtendedLifetime(made) {}
    }
    #expect(below == nil)
    above.request()
  }

  @Test func `calls each handler once, in order, and no removed handler`() {
    let stop = Stop()
    let called = Mutex<[Int]>([])
    let handlers = (0..<4).map { number in stop.onRequest { called.withLock { $0.append(number) } } }
    stop.forget(handlers[1])
    stop.request()
    stop.request()
    #expect(called.withLock { $0 } == [0, 2, 3])
    _ = stop.onRequest { called.withLock { $0.append(9) } }
    #expect(called.withLock { $0 } == [0, 2, 3, 9])
  }

  @Test func `is the current stop of the tasks started under it`() async {
    let stop = Stop()
    #expect(!Stop.current.isRequested)
    await stop.governing {
      stop.request()
      #expect(Stop.current.isRequested)
      #expect(await Task { Stop.current.isRequested }.value)
      await withTaskGroup(of: Bool.self) { group in
        group.addTask { Stop.current.isRequested }
        for await isRequested in group { #expect(isRequested) }
      }
    }
    #expect(!Stop.current.isRequested)
  }
}

@Suite struct `A wait that can be stopped` {
  @Test func `returns the result of the wait`() async throws {
    #expect(try await stoppable { 7 } == 7)
    struct Trouble: Error {}
    await #expect(throws: Trouble.self) { try await stoppable { throw Trouble() } }
  }

  @Test(arguments: [true, false]) func `is cancelled by the stop`(isLate: Bool) async {
    let stop = Stop()
    if isLate { stop.request() }
    let began = ContinuousClock.now
    await stop.governing {
      let ended = Task { try await stoppable { try await Task.sleep(for: .seconds(3600)) } }
      if !isLate { stop.request() }
      await #expect(throws: CancellationError.self) { try await ended.value }
      #expect(!Task.isCancelled, "the caller continues, and can finish its work")
      await rest(for: .seconds(3600))
    }
    #expect(ContinuousClock.now - began < .seconds(600))
  }

  @Test func `is cancelled with its caller`() async throws {
    let waiting = Task { try await stoppable { try await Task.sleep(for: .seconds(3600)) } }
    waiting.cancel()
    await #expect(throws: CancellationError.self) { try await waiting.value }
  }

  @Test func `leaves nothing behind`() async throws {
    let stop = Stop()
    weak var held: Stop?
    try await stop.governing {
      for _ in 0..<1_000 {
        let probe = Stop()
        held = probe
        try await stoppable { _ = probe }
      }
    }
    #expect(held == nil, "the stop keeps no finished wait")
  }
}
