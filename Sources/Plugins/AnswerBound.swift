import Rules

// A line of the protocol may have 64 MiB, and the decoder makes an object of each value in it, so a line of `[1,1,1,…` would take gigabytes.
// Counting its values first takes no memory.

/// Bounds what a line of a plugin may hold, before it is decoded.
enum AnswerBound {
  /// The most values in a line, which is far more than the statements of a page need.
  static let values = 1_000_000

  /// - Throws: ``Problem`` if it holds more.
  static func check(_ line: some Collection<UInt8>) throws(Problem) {
    // Fewer bytes than that hold fewer values.
    guard line.count > values else { return }
    var (count, isText, isEscaped) = (1, false, false)
    for byte in line {
      if isEscaped {
        isEscaped = false
      } else if isText {
        if byte == UInt8(ascii: "\\") { isEscaped = true } else if byte == UInt8(ascii: "\"") { isText = false }
      } else if byte == UInt8(ascii: "\"") {
        isText = true
      } else if [UInt8(ascii: ","), UInt8(ascii: "["), UInt8(ascii: "{")].contains(byte) {
        count += 1
      }
    }
    guard count > values else { return }
    throw Problem(
      .plugin(.lineTooLong), "a line of the plugin holds more than \(values) values",
      hint: "Answer with fewer statements, such as one for many rows; the daemon hands over fewer events meanwhile.")
  }
}
