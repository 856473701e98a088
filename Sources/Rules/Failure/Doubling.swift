/// Intervals that double, for reports that repeat less and less often: the first, twice that, and so on, up to a longest.
package struct Doubling: Sendable, Hashable {
  private var upcoming: Duration
  private let longest: Duration?

  /// - Parameter longest: the interval at which they stop growing; nil for no limit.
  package init(from first: Duration, upTo longest: Duration? = nil) {
    precondition(first > .zero, "the first interval is above zero")
    upcoming = first
    self.longest = longest
  }

  package mutating func next() -> Duration {
    defer { upcoming = longest.map { min(upcoming * 2, $0) } ?? upcoming * 2 }
    return upcoming
  }
}
