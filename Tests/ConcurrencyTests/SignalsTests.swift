import Glibc
import Synchronization
import Testing

@testable import Concurrency

/// On threads of their own, which hold signals that nothing else uses, and are sent them alone.
@Suite struct `A held signal` {
  /// Runs the body on a thread, which then takes as many signals as the body says.
  private static func onThread(
    holding numbers: [Int32], taking count: Int, _ body: @escaping @Sendable (Signals) -> Void
  ) async {
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
      let work = Work {
        let signals = Signals(holding: numbers)
        body(signals)
        for _ in 0..<count { signals.takeNext() }
        continuation.resume()
      }
      var thread = pthread_t()
      pthread_create(
        &thread, nil,
        {
          Unmanaged<Work>.fromOpaque($0!).takeRetainedValue().body()
          return nil
        }, Unmanaged.passRetained(work).toOpaque())
      pthread_detach(thread)
    }
  }

  private final class Work: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  @Test func `reaches who listens, also when it came before anybody took it`() async {
    let heard = Mutex<AsyncStream<Int32>?>(nil)
    await Self.onThread(holding: [SIGUSR1, SIGUSR2], taking: 2) { signals in
      heard.withLock { $0 = signals.listen(for: [SIGUSR1, SIGUSR2]) }
      pthread_kill(pthread_self(), SIGUSR2)
      pthread_kill(pthread_self(), SIGUSR1)
    }
    var numbers: Set<Int32> = []
    for await number in heard.withLock({ $0! }).prefix(2) { numbers.insert(number) }
    #expect(numbers == [SIGUSR1, SIGUSR2])
  }

  /// What the first one asked for may be stuck, and its listener with it.
  @Test func `that is heard once ends the process when it comes again`() async {
    let heard = Mutex<AsyncStream<Int32>?>(nil)
    let ends = Mutex(0)
    await Self.onThread(holding: [SIGWINCH], taking: 0) { signals in
      heard.withLock { $0 = signals.listen(for: [SIGWINCH], once: true) }
      for _ in 0..<2 {
        pthread_kill(pthread_self(), SIGWINCH)
        // Its usual effect is none.
        signals.takeNext(beforeEnd: { ends.withLock { $0 += 1 } })
      }
    }
    #expect(ends.withLock { $0 } == 1)
    for await number in heard.withLock({ $0! }).prefix(1) { #expect(number == SIGWINCH) }
  }

  @Test func `that is a hangup waits for who will listen`() async {
    let heard = Mutex<AsyncStream<Int32>?>(nil)
    await Self.onThread(holding: [SIGHUP], taking: 0) { signals in
      pthread_kill(pthread_self(), SIGHUP)
      signals.takeNext()
      heard.withLock { $0 = signals.listen(for: [SIGHUP]) }
    }
    for await number in heard.withLock({ $0! }).prefix(1) { #expect(number == SIGHUP) }
  }
}
