/// How long to wait before the next attempt: briefly at first, then at a constant interval, without limit.
///
/// The interval bounds what an outage costs beyond its own length, so it is short.
package struct Backoff: Sendable, Hashable {
  package private(set) var attempt = 0
  private let delays: [Duration]

  package init(_ delays: [Duration] = [.milliseconds(250), .milliseconds(500), .seconds(1), .seconds(2), .seconds(5)]) {
    precondition(!delays.isEmpty, "a backoff needs at least one delay")
    self.delays = delays
  }

  package mutating func next() -> Duration {
    defer { attempt += 1 }
    return delays[min(attempt, delays.count - 1)]
  }

  package mutating func reset() { attempt = 0 }
}
