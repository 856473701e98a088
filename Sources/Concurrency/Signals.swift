import CLinux
import Glibc
import Synchronization

/// Signals as something to wait for, by signalfd(2): none is lost, from the moment they are held.
///
/// A held signal stays pending until one thread, as a rule the first, takes it here. Threads inherit what is held, and one that does not
/// hold a signal would be given it, with its usual effect: so the first thread holds them before it starts another. A signal that nothing
/// listens for has its usual effect all the same, save SIGHUP, which waits for a listener.
package final class Signals: Sendable {
  private struct State {
    var listeners: [Int32: AsyncStream<Int32>.Continuation] = [:]
    /// SIGHUP came, and nothing has listened for it yet.
    var waiting: Set<Int32> = []
    /// Those that are heard once: the next has its usual effect.
    var once: Set<Int32> = []
    var heard: Set<Int32> = []
  }

  private let descriptor: Int32
  private let state = Mutex(State())

  /// Holds the signals, in this thread and those it starts from here on.
  package init(holding signals: [Int32]) {
    var set = Self.set(signals)
    pthread_sigmask(SIG_BLOCK, &set, nil)
    descriptor = tidemark_signalfd(&set)
    precondition(descriptor >= 0, "the process has no file descriptor left (errno \(errno))")
  }

  deinit { close(descriptor) }

  /// The signals that come from here on, and what waits already. Equal ones that come before one is looked at count once.
  ///
  /// - Parameter once: the first of them is heard. The next ends the process on the thread that takes signals, whatever became of the
  ///   listener: it may be stuck in what the first one asked for.
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
  /// - Parameter beforeEnd: called when a signal is about to have its usual effect.
  package func take(beforeEnd: () -> Void = {}) -> Never { while true { takeNext(beforeEnd: beforeEnd) } }

  /// Waits on this thread for one signal, and hands it on.
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

  /// Lets a signal have the effect on this process that it would have had, if it had never been held.
  private func obey(_ number: Int32) {
    var set = Self.set([number])
    pthread_sigmask(SIG_UNBLOCK, &set, nil)
    // To the process: this thread takes it, or another that does not hold it.
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
