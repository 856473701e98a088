package import Rules

/// Splits a stream of bytes into lines, regardless of how it was chunked.
package struct LineSplitter: Sendable {
  private let limit: Int
  private let cutsLongLines: Bool
  private var rest: [UInt8] = []

  /// - Parameters:
  ///   - limit: the most bytes in one line.
  ///   - cutsLongLines: whether a longer line is returned in parts; otherwise it is an error.
  package init(limit: Int = PluginLimits.lineBytes, cutsLongLines: Bool = false) {
    self.limit = limit
    self.cutsLongLines = cutsLongLines
  }

  /// Takes bytes and returns the lines that are now complete, without line endings; empty lines are skipped.
  ///
  /// - Throws: ``Problem/lineTooLong(bytes:)``.
  package mutating func take(_ bytes: [UInt8]) throws(Problem) -> [[UInt8]] {
    var lines: [[UInt8]] = []
    var begin = bytes.startIndex
    while let end = bytes[begin...].firstIndex(of: UInt8(ascii: "\n")) {
      try add(bytes[begin..<end], &lines)
      begin = end + 1
      if rest.last == UInt8(ascii: "\r") { rest.removeLast() }
      if !rest.isEmpty { lines.append(rest) }
      rest = []
    }
    try add(bytes[begin...], &lines)
    return lines
  }

  private mutating func add(_ bytes: ArraySlice<UInt8>, _ lines: inout [[UInt8]]) throws(Problem) {
    rest += bytes
    while rest.count > limit {
      guard cutsLongLines else { throw .lineTooLong(bytes: rest.count) }
      lines.append(Array(rest.prefix(limit)))
      rest.removeFirst(limit)
    }
  }

  /// The last line, if it has no line ending.
  package mutating func takeRest() -> [UInt8]? {
    defer { rest = [] }
    return rest.isEmpty ? nil : rest
  }
}
