import Concurrency
import Glibc
import Synchronization

/// Why a read from a pipe, or a write to it, failed.
package enum PipeProblem: Error, Hashable, Sendable, CustomStringConvertible {
  /// This process has closed its end.
  case closed
  /// The other process has closed its end, or has exited.
  case broken
  /// An errno(3).
  case failed(Int32)

  package var description: String {
    switch self {
    case .closed: "it is closed"
    case .broken: "its reader is gone"
    case .failed(let code): String(cString: strerror(code))
    }
  }
}

/// Our end of a pipe: some tasks use the descriptor while another may close it.
///
/// Another file may get the number as soon as the descriptor is closed, so its last user closes it, when no task uses
/// it or waits for it. Once ``close()`` has returned, nothing more is read or written.
final class PipeEnd: Sendable {
  private struct State {
    var waits = 0
    var isClosing = false
  }

  private let descriptor: Int32
  private let state = Mutex(State())

  /// Takes ownership of a non-blocking descriptor.
  init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit { close() }

  /// Makes one system call without blocking.
  ///
  /// - Returns: nil if the call would block.
  func attempt(_ call: (Int32) -> Int) throws(PipeProblem) -> Int? {
    let (count, code, isClosing) = state.withLock { state in
      guard !state.isClosing else { return (0, Int32(0), true) }
      var count = 0
      repeat { count = call(descriptor) } while count < 0 && errno == EINTR
      return (count, errno, false)
    }
    if isClosing { throw .closed }
    if count >= 0 { return count }
    switch code {
    case EAGAIN: return nil
    case EPIPE: throw .broken
    default: throw .failed(code)
    }
  }

  /// Waits until a call is worth another attempt.
  func wait(for direction: Readiness.Direction) async throws {
    let isClosing = state.withLock { state in
      if !state.isClosing { state.waits += 1 }
      return state.isClosing
    }
    if isClosing { throw PipeProblem.closed }
    defer { leave() }
    do {
      _ = try await Readiness.shared.wait(for: direction, of: descriptor, unless: { self.isClosing })
    } catch {
      // The close ended this wait, not a cancellation of the task.
      if self.isClosing { throw PipeProblem.closed }
      throw error
    }
  }

  private var isClosing: Bool { state.withLock { $0.isClosing } }

  private func leave() {
    state.withLock { state in
      state.waits -= 1
      if state.isClosing, state.waits == 0 { _ = Glibc.close(descriptor) }
    }
  }

  func close() {
    state.withLock { state in
      guard !state.isClosing else { return }
      state.isClosing = true
      // No user can leave while the lock is held, so the number is still ours.
      if state.waits == 0 { _ = Glibc.close(descriptor) } else { Readiness.shared.release(descriptor) }
    }
  }
}
