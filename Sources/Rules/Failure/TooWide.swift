/// Whether a failure may depend on how much one page takes on, so that a narrower page may pass: no single event is to blame for a timeout,
/// for memory, or for too many locks. Nothing else is decided about such a failure before the page has a single number.
package enum TooWide {
  private static let codes: Set<String> = [
    // statement_timeout, ours or the server's; an operator's pg_cancel_backend has the same code, and does no harm here.
    "57014",
    // transaction_timeout.
    "25P04",
    // A sum, or a duration, that grows with the events in it.
    "22003", "22008", "22015",
  ]
  /// Disk full, out of memory, too many locks (out of shared memory), temp_file_limit; and limits of strings, arrays and JSON values.
  private static let prefixes = ["53", "54"]

  /// - Parameter routine: the function of the server's source that raised the error, if known.
  package static func isLikely(sqlState: String, routine: String? = nil) -> Bool {
    // Connections, and not what a page does on one.
    if sqlState == "53300" { return false }
    if codes.contains(sqlState) || prefixes.contains(where: sqlState.hasPrefix) { return true }
    // "invalid memory alloc request size": a value of more than a gigabyte. It is an internal error, as many others are.
    return sqlState == "XX000"
      && ["palloc", "repalloc", "MemoryContext"].contains { routine?.hasPrefix($0) ?? false }
  }
}
