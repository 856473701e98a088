import CSystemd
import Glibc

/// The systemd journal, written with its native protocol so that entries carry fields.
package enum Journal {
  /// Whether standard error goes to the journal. If so, write entries to the journal directly, since standard error
  /// carries text only.
  package static var isStandardError: Bool {
    guard let stream = getenv("JOURNAL_STREAM") else { return false }
    let parts = String(cString: stream).split(separator: ":").map(String.init)
    var status = stat()
    guard parts.count == 2, fstat(STDERR_FILENO, &status) == 0 else { return false }
    return parts[0] == "\(status.st_dev)" && parts[1] == "\(status.st_ino)"
  }

  /// Sends one entry. Names consist of upper-case letters, digits and `_`; values may contain any text.
  package static func send(_ fields: [(name: String, value: String)]) {
    let texts = fields.map { Array("\($0.name)=\($0.value)".utf8) }
    let lengths = texts.map(\.count)
    // One buffer, so that the pieces do not move during the call.
    var bytes = Array(texts.joined())
    bytes.withUnsafeMutableBytes { buffer in
      var offset = 0
      let pieces = lengths.map { length in
        defer { offset += length }
        return iovec(iov_base: buffer.baseAddress! + offset, iov_len: length)
      }
      // Without a journal this returns 0; there is no place to report a full or broken journal.
      _ = sd_journal_sendv(pieces, Int32(pieces.count))
    }
  }
}
