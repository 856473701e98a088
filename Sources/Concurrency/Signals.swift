import CLinux
import Glibc

/// Signals as something to wait for, by signalfd(2): none is lost, from the moment they are held.
///
/// A signal that is held in every thread stays pending until it is taken here. So ``hold(_:)`` comes before the first thread: threads
/// inherit what is held, and one thread that does not hold a signal would be given it, with its usual effect.
package final class Signals: Sendable {
  private let descriptor: Int32

  /// Keeps the signals from having their usual effect, in this thread and those it starts.
  package static func hold(_ signals: [Int32]) {
    var set = Self.set(signals)
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  /// - Parameter signals: held before.
  package init(_ signals: [Int32]) {
    var set = Self.set(signals)
    descriptor = tidemark_signalfd(&set)
    precondition(descriptor >= 0, "the process has no file descriptor left (errno \(errno))")
  }

  deinit { close(descriptor) }

  /// The next signal, those included that came before anybody waited. Equal ones that were not taken yet count once.
  ///
  /// - Throws: `CancellationError`.
  package func next() async throws -> Int32 {
    var info = signalfd_siginfo()
    while true {
      if read(descriptor, &info, MemoryLayout<signalfd_siginfo>.size) > 0 { return Int32(info.ssi_signo) }
      try await Readiness.shared.readable(descriptor)
    }
  }

  /// Lets a signal have its usual effect on this process, as if nobody had ever held it.
  package static func obey(_ number: Int32) {
    signal(number, SIG_DFL)
    var set = Self.set([number])
    pthread_sigmask(SIG_UNBLOCK, &set, nil)
    // To the process: this thread takes it, or another that does not hold it.
    kill(getpid(), number)
  }

  private static func set(_ signals: [Int32]) -> sigset_t {
    var set = sigset_t()
    sigemptyset(&set)
    for number in signals { sigaddset(&set, number) }
    return set
  }
}
