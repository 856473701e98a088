import CSystemd
import Glibc

/// The systemd journal, written to by its native protocol so that entries carry fields.
package enum Journal {
  /// Whether standard error goes to the journal: then entries should go there directly, or each would be there as text only.
  package static var isStandardError: Bool {
    guard let stream = getenv("JOURNAL_STREAM") else { return false }
    let parts = String(cString: stream).split(separator: ":").map(String.init)
    var status = stat()
    guard parts.count == 2, fstat(STDERR_FILENO, &status) == 0 else { return false }
    return parts[0] == "\(status.st_dev)" && parts[1] == "\(status.st_ino)"
  }

  /// Sends one entry. Names are upper case letters, digits and `_`; values may hold anything.
  package static func send(_ fields: [(name: String, value: String)]) {
    let texts = fields.map { Array("\($0.name)=\($0.value)".utf8) }
    let lengths = texts.map(\.count)
    // One buffer, so that the pieces stay where they are during the call.
    var bytes = Array(texts.joined())
    bytes.withUnsafeMutableBytes { buffer in
      var offset = 0
      let pieces = lengths.map { length in
        defer { offset += length }
        return iovec(iov_base: buffer.baseAddress! + offset, iov_len: length)
      }
      // Without a journal this returns 0; a full or broken one has nowhere to be reported to.
      _ = sd_journal_sendv(pieces, Int32(pieces.count))
    }
  }
}
