import CLinux
import Concurrency
import Glibc
import Synchronization

/// A child of this process, which runs or has ended.
///
/// Its starter sees it to its end by ``waitForEnd()``, ``kill()``, ``tearDown(patience:)`` or ``collect(limit:)``. Nothing else
/// takes away what the system keeps of it, and its number; until then signals to its group reach no other process.
package final class Child: Sendable {
  /// Its number, and that of its group.
  package let pid: Int32
  /// Where its input is a pipe.
  package let input: PipeWriter?
  /// Where its output is a pipe.
  package let output: PipeReader?
  /// Where its errors are a pipe.
  package let error: PipeReader?
  /// A pidfd.
  private let process: Int32
  /// Nil as long as the system keeps what is left of it.
  private let termination = Mutex<Termination?>(nil)

  /// Those that are to end with this process.
  private static let dependants = Mutex<Set<Int32>>([])

  /// Kills those children, and what is in their groups: for a process that is about to be ended by a signal.
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

  /// Sends a signal to the child alone. Nothing happens where it is gone.
  package func send(_ signal: Int32) { _ = tidemark_pidfd_signal(process, signal) }

  /// Sends a signal to the child and to those of its children that have stayed in its group. It reaches these also when the child itself has
  /// ended, as long as its end has not been waited for.
  package func sendToGroup(_ signal: Int32) {
    termination.withLock { if $0 == nil { _ = Glibc.kill(-pid, signal) } }
  }

  // MARK: Its end

  /// Waits for its end. Its children may live on.
  ///
  /// A cancelled task waits all the same, so this is for a child that will end: it has been told to, or its input has ended.
  @discardableResult
  package func waitForEnd() async -> Termination {
    while true {
      if let termination = reap() { return termination }
      _ = await hasEnded(within: nil, evenIfCancelled: true)
    }
  }

  /// Kills it and what is left of its group, and waits for its end; also in a cancelled task.
  @discardableResult
  package func kill() async -> Termination {
    sendToGroup(SIGKILL)
    return await waitForEnd()
  }

  /// Ends it and its group: by SIGTERM, and after a while by SIGKILL. In a cancelled task too.
  @discardableResult
  package func tearDown(patience: Duration = .milliseconds(100)) async -> Termination {
    sendToGroup(SIGTERM)
    _ = await hasEnded(within: patience, evenIfCancelled: true)
    return await kill()
  }

  /// Whether it ends within a time. What is left of it stays, so that signals still reach its group.
  ///
  /// - Throws: `CancellationError`.
  package func hasEnded(within limit: Duration) async throws -> Bool {
    try Task.checkCancellation()
    let hasEnded = await hasEnded(within: limit, evenIfCancelled: false)
    if !hasEnded { try Task.checkCancellation() }
    return hasEnded
  }

  /// Waits for its end. What is left of it stays, so that signals still reach its group.
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
        // The kernel has no memory for the wait: not for long.
        await Task.yield()
      }
    }
    return true
  }

  /// Whether it has ended.
  package var hasEnded: Bool {
    termination.withLock { $0 != nil || look(WNOWAIT) != nil }
  }

  private func reap() -> Termination? {
    termination.withLock { termination in
      guard termination == nil else { return termination }
      // Under this lock too, as its number may be another's once it is reaped.
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
    // Only when another part of this process waits for our children: it has the status then.
    if status != 0, errno == ECHILD { return .exited(-1) }
    return Termination(information)
  }
}
