/// Times that double, for what is told again and again at growing distance: the first, twice that, and so on, up to a longest.
package struct Doubling: Sendable, Hashable {
  private var upcoming: Duration
  private let longest: Duration?

  /// - Parameter longest: stays from there on; nil lets them grow without end.
  package init(from first: Duration, upTo longest: Duration? = nil) {
    precondition(first > .zero, "what doubles is not nothing")
    upcoming = first
    self.longest = longest
  }

  package mutating func next() -> Duration {
    defer { upcoming = longest.map { min(upcoming * 2, $0) } ?? upcoming * 2 }
    return upcoming
  }
}
