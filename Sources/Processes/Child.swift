import CLinux
import Concurrency
import Glibc
import Synchronization

/// A child of this process, running or ended.
///
/// The caller that started it must call ``waitForEnd()``, ``kill()``, ``tearDown(patience:)`` or ``collect(limit:)``.
/// Only these reap the child and free its pid; until then signals to its group reach no other process.
package final class Child: Sendable {
  /// The child's pid, which is also the id of its process group.
  package let pid: Int32
  /// Set if its standard input is a pipe.
  package let input: PipeWriter?
  /// Set if its standard output is a pipe.
  package let output: PipeReader?
  /// Set if its standard error is a pipe.
  package let error: PipeReader?
  /// A pidfd.
  private let process: Int32
  /// Nil until the child is reaped.
  private let termination = Mutex<Termination?>(nil)

  /// The children that must end with this process.
  private static let dependants = Mutex<Set<Int32>>([])

  /// Kills the children that must end with this process, and their groups. Call it when a signal is about to end this
  /// process.
  package static func killDependants() {
    dependants.withLock { for pid in $0 { _ = Glibc.kill(-pid, SIGKILL) } }
  }

  init(pid: Int32, process: Int32, outlivesUs: Bool, input: PipeWriter?, output: PipeReader?, error: PipeReader?) {
    self.pid = pid
    self.process = process
    self.input = input
    self.output = output
    self.error = error
    if !outlivesUs { Self.dependants.withLock { _ = $0.insert(pid) } }
  }

  deinit { close(process) }

  // MARK: Signals

  /// Sends a signal to the child alone. Does nothing if it is gone.
  package func send(_ signal: Int32) { _ = tidemark_pidfd_signal(process, signal) }

  /// Sends a signal to the child and to its descendants that are still in its group. It reaches them even after the
  /// child has ended, as long as the child has not been reaped.
  package func sendToGroup(_ signal: Int32) {
    termination.withLock { if $0 == nil { _ = Glibc.kill(-pid, signal) } }
  }

  // MARK: Its end

  /// Waits for the child to exit, and reaps it. Its own children may live on.
  ///
  /// A cancelled task waits too, so call this only for a child that is sure to exit: it has been told to, or its input
  /// has ended.
  @discardableResult
  package func waitForEnd() async -> Termination {
    while true {
      if let termination = reap() { return termination }
      _ = await hasEnded(within: nil, evenIfCancelled: true)
    }
  }

  /// Kills the child and its group, and waits for the child to exit, even in a cancelled task.
  @discardableResult
  package func kill() async -> Termination {
    sendToGroup(SIGKILL)
    return await waitForEnd()
  }

  /// Ends the child and its group: with SIGTERM, and with SIGKILL when the patience is over. Works in a cancelled task
  /// too.
  @discardableResult
  package func tearDown(patience: Duration = .milliseconds(100)) async -> Termination {
    sendToGroup(SIGTERM)
    _ = await hasEnded(within: patience, evenIfCancelled: true)
    return await kill()
  }

  /// Whether the child exits within the limit. It is not reaped, so that signals still reach its group.
  ///
  /// - Throws: `CancellationError`.
  package func hasEnded(within limit: Duration) async throws -> Bool {
    try Task.checkCancellation()
    let hasEnded = await hasEnded(within: limit, evenIfCancelled: false)
    if !hasEnded { try Task.checkCancellation() }
    return hasEnded
  }

  /// Waits for the child to exit. It is not reaped, so that signals still reach its group.
  ///
  /// - Throws: `CancellationError`.
  package func end() async throws {
    while await !hasEnded(within: nil, evenIfCancelled: false) { try Task.checkCancellation() }
  }

  private func hasEnded(within limit: Duration?, evenIfCancelled: Bool) async -> Bool {
    let deadline = limit.map { ContinuousClock.now + $0 }
    while !hasEnded {
      let left = deadline.map { $0 - .now }
      if let left, left <= .zero { return false }
      do {
        _ = try await Readiness.shared.wait(
          for: .reading, of: process, within: left, evenIfCancelled: evenIfCancelled)
      } catch is CancellationError {
        return hasEnded
      } catch {
        // The kernel has no memory for the wait at this moment.
        await Task.yield()
      }
    }
    return true
  }

  /// Whether the child has exited.
  package var hasEnded: Bool {
    termination.withLock { $0 != nil || look(WNOWAIT) != nil }
  }

  private func reap() -> Termination? {
    termination.withLock { termination in
      guard termination == nil else { return termination }
      // Under this lock too, as another process may get the pid once the child is reaped.
      Self.dependants.withLock { dependants in
        termination = look(0)
        if termination != nil { dependants.remove(pid) }
      }
      return termination
    }
  }

  private func look(_ options: Int32) -> Termination? {
    var information = siginfo_t()
    let status = waitid(P_PIDFD, id_t(process), &information, WEXITED | WNOHANG | options)
    // Happens only if another part of this process waits for our children; it got the status.
    if status != 0, errno == ECHILD { return .exited(-1) }
    return Termination(information)
  }
}
