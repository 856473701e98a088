import CLinux
import Glibc
import Synchronization

/// Signals as a stream, by signalfd(2). Once they are held, none is lost.
///
/// A held signal stays pending until one thread, usually the first, takes it here. Threads inherit the held signals,
/// and the system would deliver a signal, with its default effect, to any thread that does not hold it: so the first
/// thread holds them before it starts another. A signal without a listener still has its default effect, except SIGHUP,
/// which waits for a listener.
package final class Signals: Sendable {
  private struct State {
    var listeners: [Int32: AsyncStream<Int32>.Continuation] = [:]
    /// SIGHUP came, and there is no listener yet.
    var waiting: Set<Int32> = []
    /// Signals delivered only once: the next one has its default effect.
    var once: Set<Int32> = []
    var heard: Set<Int32> = []
  }

  private let descriptor: Int32
  private let state = Mutex(State())

  /// Holds the signals, in this thread and in the threads it starts from now on.
  package init(holding signals: [Int32]) {
    var set = Self.set(signals)
    pthread_sigmask(SIG_BLOCK, &set, nil)
    descriptor = tidemark_signalfd(&set)
    precondition(descriptor >= 0, "the process has no file descriptor left (errno \(errno))")
  }

  deinit { close(descriptor) }

  /// The signals from now on, and those already waiting. Repeats that come before the listener has read the first count
  /// once.
  ///
  /// - Parameter once: delivers only the first signal. The next one ends the process on the thread that takes signals,
  ///   even if the listener is stuck in its response to the first.
  package func listen(for numbers: [Int32], once: Bool = false) -> AsyncStream<Int32> {
    let (signals, continuation) = AsyncStream.makeStream(of: Int32.self, bufferingPolicy: .bufferingNewest(2))
    continuation.onTermination = { [weak self] _ in
      self?.state.withLock { for number in numbers { $0.listeners[number] = nil } }
    }
    state.withLock { state in
      for number in numbers {
        state.listeners[number] = continuation
        state.heard.remove(number)
        if once { state.once.insert(number) } else { state.once.remove(number) }
        if state.waiting.remove(number) != nil { continuation.yield(number) }
      }
    }
    return signals
  }

  /// Takes signals for as long as the process lives.
  ///
  /// - Parameter beforeEnd: called when a signal is about to have its default effect.
  package func take(beforeEnd: () -> Void = {}) -> Never { while true { takeNext(beforeEnd: beforeEnd) } }

  /// Waits on this thread for one signal, and passes it to the listener.
  func takeNext(beforeEnd: () -> Void = {}) {
    var info = signalfd_siginfo()
    guard read(descriptor, &info, MemoryLayout<signalfd_siginfo>.size) > 0 else { return }
    let number = Int32(info.ssi_signo)
    switch state.withLock({ Self.meet(number, &$0) }) {
    case .none: break
    case .obey:
      beforeEnd()
      obey(number)
    case .end:
      beforeEnd()
      signal(number, SIG_DFL)
      obey(number)
    }
  }

  private enum Effect { case none, obey, end }

  private static func meet(_ number: Int32, _ state: inout State) -> Effect {
    if state.heard.contains(number) { return .end }
    if let listener = state.listeners[number] {
      listener.yield(number)
      if state.once.contains(number) { state.heard.formUnion(state.once) }
      return .none
    }
    guard number == SIGHUP else { return .obey }
    state.waiting.insert(number)
    return .none
  }

  /// Gives a signal the effect on this process that it would have if it had never been held.
  private func obey(_ number: Int32) {
    var set = Self.set([number])
    pthread_sigmask(SIG_UNBLOCK, &set, nil)
    // Sent to the process: this thread takes it, or another one that does not hold it.
    kill(getpid(), number)
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  private static func set(_ signals: [Int32]) -> sigset_t {
    var set = sigset_t()
    sigemptyset(&set)
    for number in signals { sigaddset(&set, number) }
    return set
  }
}
