/// Limits how much of a plugin's output goes into the log, so that a flood does not drown other entries.
///
/// Each interval allows a number of lines; the rest is counted, and the count is logged when the interval is over.
package struct OutputLimit: Sendable {
  package static let lines = 100
  package static let interval = Duration.seconds(5)
  /// The most bytes of one line that are logged.
  package static let lineBytes = 2_000

  private var began: ContinuousClock.Instant?
  private var passed = 0
  private var dropped = 0

  package init() {}

  package enum Verdict: Hashable, Sendable {
    case pass
    /// Log it; it is the first line after so many were dropped.
    case passAfter(dropped: Int)
    case drop
  }

  package mutating func meet(at now: ContinuousClock.Instant) -> Verdict {
    if let began, now - began < Self.interval {
      guard passed < Self.lines else {
        dropped += 1
        return .drop
      }
      passed += 1
      return .pass
    }
    defer { dropped = 0 }
    began = now
    passed = 1
    return dropped > 0 ? .passAfter(dropped: dropped) : .pass
  }

  /// Splits a text of any length into parts of at most `lineBytes`.
  package static func parts(of text: String) -> some Sequence<String> {
    let bytes = Array(text.utf8)
    return stride(from: 0, to: bytes.count, by: lineBytes).lazy.map { start in
      String(decoding: bytes[start..<min(start + lineBytes, bytes.count)], as: UTF8.self)
    }
  }

  /// Returns the number of dropped lines not yet reported, and resets it.
  package mutating func takeDropped() -> Int {
    defer { dropped = 0 }
    return dropped
  }
}
