import Concurrency
import Testing

/// An actor that looks at its state and then waits for it to change, as the boards of the daemon do.
private actor Board {
  private var isSet = false
  private let waiters = Waiters<Void, Void>()

  func untilSet() async throws {
    while !isSet { try await waiters.wait() }
    isSet = false
  }

  func set() {
    isSet = true
    waiters.tell()
  }
}

@Suite struct `Waiters beside an actor's state` {
  /// A change right after the look must find the task that looked.
  @Test(.timeLimit(.minutes(5))) func `miss no change`() async throws {
    let board = Board()
    let answers = Board()
    let rounds = 50_000
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for _ in 0..<rounds {
          try await board.untilSet()
          await answers.set()
        }
      }
      group.addTask {
        for _ in 0..<rounds {
          await board.set()
          try await answers.untilSet()
        }
      }
      try await group.waitForAll()
    }
  }

  @Test func `end with the cancellation of their task, also when it comes first`() async throws {
    let waiters = Waiters<Void, Void>()
    let waiting = Task { try await waiters.wait() }
    waiting.cancel()
    await #expect(throws: CancellationError.self) { try await waiting.value }
    #expect(!waiters.tellFirst(()))
  }
}
