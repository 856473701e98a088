import Concurrency
import Glibc
import Synchronization

/// Why nothing can be read from a pipe, or written to it.
package enum PipeProblem: Error, Hashable, Sendable, CustomStringConvertible {
  /// We have closed our end.
  case closed
  /// The other side has closed its end, or has ended.
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

/// A descriptor of ours that is used by some tasks and may be closed by another.
///
/// Its number may be another file's as soon as it is closed, so its last user closes it: no task uses it or waits for it
/// then. Once ``close()`` has returned nothing more is read or written.
final class PipeEnd: Sendable {
  private struct State {
    var waits = 0
    var isClosing = false
  }

  private let descriptor: Int32
  private let state = Mutex(State())

  /// Takes over a descriptor that does not block.
  init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit { close() }

  /// Makes one system call, which does not block.
  ///
  /// - Returns: nil where it would have had to.
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
      // Ended by the close, and not for its task's sake.
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
      // While the lock is held no user leaves, so the number is still ours.
      if state.waits == 0 { _ = Glibc.close(descriptor) } else { Readiness.shared.release(descriptor) }
    }
  }
}
