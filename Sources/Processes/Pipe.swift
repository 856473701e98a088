import Concurrency
import Glibc

/// Our end of a pipe to a child's standard input. It closes when it is released.
package struct PipeWriter: Sendable {
  private let end: PipeEnd

  init(_ end: PipeEnd) { self.end = end }

  /// Writes all bytes, waiting for the child to read. Only one task may write at a time.
  ///
  /// - Throws: ``PipeProblem``; `CancellationError` when the task is cancelled and the child does not read at once.
  ///   Some bytes may have been written.
  package func write(_ bytes: [UInt8]) async throws {
    var written = 0
    while written < bytes.count {
      let count = try end.attempt { descriptor in
        bytes.withUnsafeBytes { Self.write(descriptor, UnsafeRawBufferPointer(rebasing: $0[written...])) }
      }
      if let count { written += count } else { try await end.wait(for: .writing) }
    }
  }

  /// Closes our end, so that the child sees the end of its input; a write in progress fails.
  package func close() { end.close() }

  /// Calls write(2) without letting its SIGPIPE end this process.
  ///
  /// A pipe has no MSG_NOSIGNAL, and with a socket pair instead a child could not open /dev/stdin. Ignoring SIGPIPE is
  /// a decision for the program and not for a library. The call sends SIGPIPE to the calling thread, so block it around
  /// the call and consume it.
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
      // If the thread had blocked SIGPIPE itself, one may have been pending before; it merges with ours and stays.
      if sigismember(&pending, SIGPIPE) == 1, sigismember(&before, SIGPIPE) == 0 { sigtimedwait(&broken, nil, &now) }
    }
    pthread_sigmask(SIG_SETMASK, &before, nil)
    errno = code
    return count
  }
}

/// Our end of a pipe from a child's standard output or standard error. It closes when it is released.
package struct PipeReader: Sendable {
  /// The default capacity of a pipe.
  package static let chunkBytes = 1 << 16

  private let end: PipeEnd

  init(_ end: PipeEnd) { self.end = end }

  /// Waits for output, and reads up to ``chunkBytes`` of it; empty at the end of the stream.
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
        // A child that writes without pause never lets this task wait; yield the thread to others.
        await Task.yield()
        return bytes
      }
      try await end.wait(for: .reading)
    }
  }

  /// Closes our end; a read in progress fails.
  package func close() { end.close() }
}
