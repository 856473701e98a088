import Concurrency
import Glibc

/// Our end of a pipe to a child's input. Dropped, it closes.
package struct PipeWriter: Sendable {
  private let end: PipeEnd

  init(_ end: PipeEnd) { self.end = end }

  /// Writes all of it, waiting for the child to read. One task at a time writes.
  ///
  /// - Throws: ``PipeProblem``; `CancellationError` when the task is cancelled and the child does not read at once. Some of it may have
  ///   been written.
  package func write(_ bytes: [UInt8]) async throws {
    var written = 0
    while written < bytes.count {
      let count = try end.attempt { descriptor in
        bytes.withUnsafeBytes { Self.write(descriptor, UnsafeRawBufferPointer(rebasing: $0[written...])) }
      }
      if let count { written += count } else { try await end.wait(for: .writing) }
    }
  }

  /// The child reads the end of its input, and nothing is written any more; a write that is under way fails.
  package func close() { end.close() }

  /// write(2), whose SIGPIPE must not end this process.
  ///
  /// A pipe has no MSG_NOSIGNAL, and a pair of sockets is not what programs expect: they cannot open /dev/stdin then. To ignore SIGPIPE
  /// is up to the program and not to a library. So it is blocked around the call, which it is sent to this very thread by, and taken away.
  private static func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    var (broken, before, pending) = (sigset_t(), sigset_t(), sigset_t())
    sigemptyset(&broken)
    sigaddset(&broken, SIGPIPE)
    pthread_sigmask(SIG_BLOCK, &broken, &before)
    let count = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
    let code = errno
    if count < 0, code == EPIPE {
      sigpending(&pending)
      var now = timespec()
      // One that the thread had blocked itself, and that was pending already, is one and the same with ours.
      if sigismember(&pending, SIGPIPE) == 1, sigismember(&before, SIGPIPE) == 0 { sigtimedwait(&broken, nil, &now) }
    }
    pthread_sigmask(SIG_SETMASK, &before, nil)
    errno = code
    return count
  }
}

/// Our end of a pipe from a child's output or errors. Dropped, it closes.
package struct PipeReader: Sendable {
  /// As much as a pipe holds unless it was told otherwise.
  package static let chunkBytes = 1 << 16

  private let end: PipeEnd

  init(_ end: PipeEnd) { self.end = end }

  /// Waits until something was written, and reads what there is, up to ``chunkBytes``; empty at the end.
  ///
  /// - Throws: ``PipeProblem``; `CancellationError` when the task is cancelled.
  package func read() async throws -> [UInt8] {
    while true {
      try Task.checkCancellation()
      var count: Int?
      let bytes = try [UInt8](unsafeUninitializedCapacity: Self.chunkBytes) { buffer, initialized in
        count = try end.attempt { Glibc.read($0, buffer.baseAddress, buffer.count) }
        initialized = count ?? 0
      }
      if count != nil {
        // A child that floods us never lets this task wait; others want the thread too.
        await Task.yield()
        return bytes
      }
      try await end.wait(for: .reading)
    }
  }

  /// Nothing is read any more; a read that is under way fails.
  package func close() { end.close() }
}
