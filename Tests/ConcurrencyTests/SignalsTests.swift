import Glibc
import Synchronization
import Testing

@testable import Concurrency

/// Each test uses its own thread, which holds signals that nothing else uses, and sends them only to that thread.
@Suite struct `A held signal` {
  /// Runs the body on a thread, which then takes the number of signals that the body returns.
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

  @Test func `reaches its listener, even if it came before the listener took it`() async {
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

  /// Whatever is to answer the first one may be stuck.
  @Test func `requests a stop at once, and ends the process when it comes again or the stop takes too long`() async {
    for isLate in [false, true] {
      let ends = Mutex<[Signals.End]>([])
      let held = Mutex<Stop?>(nil)
      await Self.onThread(holding: [SIGWINCH], taking: 0) { signals in
        let stop = signals.stop(for: [SIGWINCH])
        held.withLock { $0 = stop }
        pthread_kill(pthread_self(), SIGWINCH)
        signals.takeNext()
        // On this thread, before anything else ran.
        #expect(stop.isRequested)
        if isLate { signals.limitStop(to: .milliseconds(1)) } else { pthread_kill(pthread_self(), SIGWINCH) }
        // The default effect of this signal is none.
        signals.takeNext(beforeEnd: { end in ends.withLock { $0.append(end) } })
      }
      #expect(ends.withLock { $0 } == [isLate ? .lateStop : .signal])
    }
  }

  @Test func `that is SIGHUP waits for a listener`() async {
    let heard = Mutex<AsyncStream<Int32>?>(nil)
    await Self.onThread(holding: [SIGHUP], taking: 0) { signals in
      pthread_kill(pthread_self(), SIGHUP)
      signals.takeNext()
      heard.withLock { $0 = signals.listen(for: [SIGHUP]) }
    }
    for await number in heard.withLock({ $0! }).prefix(1) { #expect(number == SIGHUP) }
  }
}
