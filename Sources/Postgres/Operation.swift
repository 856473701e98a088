import CLibpq
import CLinux
import Glibc
import Synchronization

/// Wakes a session's thread out of `poll`: an eventfd, closed with its last owner.
final class Wakeup: Sendable {
  let descriptor: Int32

  /// Nil if the process has no descriptor left.
  init?() {
    descriptor = tidemark_eventfd()
    if descriptor < 0 { return nil }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  func signal() {
    var one: UInt64 = 1
    _ = write(descriptor, &one, 8)
  }

  func drain() {
    var count: UInt64 = 0
    _ = read(descriptor, &count, 8)
  }
}

/// One statement or one pipeline, and whether it has been asked to end early.
///
/// A cancel request sent from another thread would race with the session's next statement. So `cancel` only sets a
/// flag; the session's own thread, the only one that knows which operation is running, sends the request. A flag set
/// too late belongs to an operation that is over, and has no effect.
final class Operation: Sendable {
  private let isCancelledFlag = Atomic<Bool>(false)
  private let wakeup: Wakeup?
  let deadline: ContinuousClock.Instant?
  let timeout: Duration?

  /// - Parameter wakeup: nil for an operation that must not be cancelled, such as the ROLLBACK after a cancelled
  ///   statement.
  init(_ wakeup: Wakeup?, timeout: Duration?) {
    self.wakeup = wakeup
    self.timeout = timeout
    deadline = timeout.map { .now + $0 }
  }

  var isCancelled: Bool { isCancelledFlag.load(ordering: .acquiring) }

  func cancel() {
    guard let wakeup else { return }
    isCancelledFlag.store(true, ordering: .releasing)
    wakeup.signal()
  }

  /// Cancels from the session's own thread, which needs no wake-up.
  func cancelFromWithin() { isCancelledFlag.store(true, ordering: .releasing) }

  /// The reason to end the operation now; nil to go on.
  var stop: PostgresError? {
    if isCancelled { return PostgresError(.cancelled) }
    if let deadline, ContinuousClock.now >= deadline { return PostgresError(.timedOut(timeout!)) }
    return nil
  }
}
