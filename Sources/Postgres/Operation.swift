import CLibpq
import CLinux
import Glibc
import Synchronization

/// Wakes a session's thread out of `poll`: an eventfd, closed with its last owner.
final class Wakeup: Sendable {
  let descriptor: Int32

  init() {
    descriptor = tidemark_eventfd()
    precondition(descriptor >= 0, "the system has no file descriptor left for a database session")
  }

  deinit { close(descriptor) }

  func signal() {
    var one: UInt64 = 1
    _ = write(descriptor, &one, 8)
  }

  func drain() {
    var count: UInt64 = 0
    _ = read(descriptor, &count, 8)
  }
}

/// One statement, or one pipeline of them, and whether somebody wants it to end early.
///
/// Cancelling from another thread would race with the next statement of the session. So `cancel` only leaves word; the session's own
/// thread, which alone knows what is running, asks the server. A word that comes too late belongs to an operation that is over, and
/// nobody looks at it any more.
final class Operation: Sendable {
  private let isCancelledFlag = Atomic<Bool>(false)
  private let wakeup: Wakeup?
  let deadline: ContinuousClock.Instant?
  let timeout: Duration?

  /// - Parameter wakeup: nil for what must not be cancelled, such as the ROLLBACK after a cancelled statement.
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

  /// The same, by the session's own thread.
  func cancelFromWithin() { isCancelledFlag.store(true, ordering: .releasing) }

  /// Why the operation should end now, if it should.
  var stop: PostgresError? {
    if isCancelled { return PostgresError(.cancelled) }
    if let deadline, ContinuousClock.now >= deadline { return PostgresError(.timedOut(timeout!)) }
    return nil
  }
}
