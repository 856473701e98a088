/// How much of what a plugin says goes into the log: a plugin that floods must not drown what others have to say.
///
/// So many lines in each interval; the rest is counted, and the count is told when the interval is over.
package struct OutputLimit: Sendable {
  package static let lines = 100
  package static let interval = Duration.seconds(5)
  /// Bytes of one line that are logged.
  package static let lineBytes = 2_000

  private var began: ContinuousClock.Instant?
  private var passed = 0
  private var dropped = 0

  package init() {}

  package enum Verdict: Hashable, Sendable {
    case pass
    /// The first line after so many were left out.
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

  /// A text of any length as what is logged of it: parts as long as a line may be.
  package static func parts(of text: String) -> some Sequence<String> {
    let bytes = Array(text.utf8)
    return stride(from: 0, to: bytes.count, by: lineBytes).lazy.map { start in
      String(decoding: bytes[start..<min(start + lineBytes, bytes.count)], as: UTF8.self)
    }
  }

  /// How many were left out and not told of yet.
  package mutating func takeDropped() -> Int {
    defer { dropped = 0 }
    return dropped
  }
}
