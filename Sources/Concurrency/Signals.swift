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
    var stops: [Int32: Weak] = [:]
    /// The signal that requested a stop, and when. The next one ends the process.
    var heard: (number: Int32, at: ContinuousClock.Instant)?
    /// How long after that the process may still be there.
    var patience: Duration?
  }

  private struct Weak { weak var stop: Stop? }

  /// Why the process is about to end by a signal.
  package enum End: Sendable {
    case signal
    /// A stop took longer than its limit.
    case lateStop
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
  package func listen(for numbers: [Int32]) -> AsyncStream<Int32> {
    let (signals, continuation) = AsyncStream.makeStream(of: Int32.self, bufferingPolicy: .bufferingNewest(2))
    continuation.onTermination = { [weak self] _ in
      self?.state.withLock { for number in numbers { $0.listeners[number] = nil } }
    }
    state.withLock { state in
      for number in numbers {
        state.listeners[number] = continuation
        if state.waiting.remove(number) != nil { continuation.yield(number) }
      }
    }
    return signals
  }

  /// A stop that the first of these signals requests, on the thread that takes signals: no task can hold it up. The next
  /// signal ends the process, whatever is stuck. As long as the stop lives.
  package func stop(for numbers: [Int32]) -> Stop {
    let stop = Stop()
    state.withLock { state in
      state.heard = nil
      for number in numbers { state.stops[number] = Weak(stop: stop) }
    }
    return stop
  }

  /// Ends the process as the next signal would, if it is still there so long after a signal that requested a stop.
  package func limitStop(to patience: Duration) { state.withLock { $0.patience = patience } }

  /// Takes signals for as long as the process lives.
  ///
  /// - Parameter beforeEnd: called when a signal is about to have its default effect.
  package func take(beforeEnd: (End) -> Void = { _ in }) -> Never { while true { takeNext(beforeEnd: beforeEnd) } }

  /// Waits on this thread for one signal, and passes it to the listener; or for the end of a stop's patience.
  func takeNext(beforeEnd: (End) -> Void = { _ in }) {
    while true {
      let (heard, patience) = state.withLock { ($0.heard, $0.patience) }
      var one = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      // The limit may be set after the signal.
      if poll(&one, 1, heard == nil ? -1 : 100) > 0 { break }
      guard let heard, let patience, heard.at + patience < .now else { continue }
      beforeEnd(.lateStop)
      end(by: heard.number)
      return
    }
    var info = signalfd_siginfo()
    guard read(descriptor, &info, MemoryLayout<signalfd_siginfo>.size) > 0 else { return }
    let number = Int32(info.ssi_signo)
    switch meet(number) {
    case .none: break
    case .request(let stop): stop.request()
    case .obey:
      beforeEnd(.signal)
      obey(number)
    case .end:
      beforeEnd(.signal)
      end(by: number)
    }
  }

  private enum Effect { case none, request(Stop), obey, end }

  private func meet(_ number: Int32) -> Effect {
    state.withLock { state in
      if let stop = state.stops[number]?.stop {
        guard state.heard == nil else { return .end }
        state.heard = (number, .now)
        return .request(stop)
      }
      if let listener = state.listeners[number] {
        listener.yield(number)
        return .none
      }
      guard number == SIGHUP else { return .obey }
      state.waiting.insert(number)
      return .none
    }
  }

  private func end(by number: Int32) {
    signal(number, SIG_DFL)
    obey(number)
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
