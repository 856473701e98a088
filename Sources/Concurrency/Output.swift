import Glibc

/// Writes all bytes, however many calls it takes, and waits for room where another process made the descriptor non-blocking.
///
/// - Parameter limit: how long to wait for the reader; nil waits as long as it takes. It holds for texts of up to a page, for which a pipe
///   has room or not.
/// - Returns: whether everything was written.
@discardableResult
package func writeAll(_ text: String, to descriptor: Int32, within limit: Duration? = nil) -> Bool {
  let deadline = limit.map { ContinuousClock.now + $0 }
  func hasRoom() -> Bool {
    let left = deadline.map { Int32(clamping: max(0, Int64(($0 - .now) / .milliseconds(1)))) }
    var one = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    return poll(&one, 1, left ?? -1) > 0
  }
  var text = text
  return text.withUTF8 { bytes in
    var rest = UnsafeRawBufferPointer(bytes)
    while !rest.isEmpty {
      guard limit == nil || hasRoom() else { return false }
      let written = write(descriptor, rest.baseAddress, limit == nil ? rest.count : min(rest.count, 4096))
      if written >= 0 {
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(written))
      } else if errno == EAGAIN {
        guard hasRoom() else { return false }
      } else if errno != EINTR {
        return false
      }
    }
    return true
  }
}
