import Rules
import Synchronization
import Telemetry
import Testing

@Suite struct `The same failure again and again` {
  private let trip = ShardName(projection: "Trip")
  private let day = ShardName(projection: "Day")

  @Test func `is let through at growing distance, up to an hour`() {
    let bench = Bench()
    var told: [Int] = []
    // A failure every ten seconds, for four hours.
    for second in stride(from: 0, through: 4 * 3600, by: 10) {
      if bench.observes(.shardPaused(trip, failure: Problem("division by zero"), for: .seconds(10)), at: second) {
        told.append(second)
      }
    }
    #expect(told == [0, 60, 180, 420, 900, 1860, 3780, 7380, 10_980])
  }

  @Test func `is news when it is another one, or another shard's`() {
    let bench = Bench()
    #expect(bench.observes(.shardPaused(trip, failure: Problem("a"), for: .zero), at: 0))
    #expect(!bench.observes(.shardPaused(trip, failure: Problem("a"), for: .zero), at: 1))
    #expect(bench.observes(.shardPaused(day, failure: Problem("a"), for: .zero), at: 2))
    #expect(bench.observes(.shardPaused(trip, failure: Problem("b"), for: .zero), at: 3))
    #expect(bench.observes(.shardRetrying(trip, failure: Problem("b"), retryIn: .zero, attempt: 1), at: 4))
  }

  @Test func `is news when the shard worked in between`() {
    let bench = Bench()
    #expect(bench.observes(.shardPaused(trip, failure: Problem("a"), for: .zero), at: 0))
    #expect(bench.observes(.shardResumed(trip), at: 1))
    #expect(bench.observes(.shardPaused(trip, failure: Problem("a"), for: .zero), at: 2))
  }

  @Test func `of the database is silent until it answered`() {
    let away = Observation.databaseUnreachable(where: "db", failure: Problem("refused"), retryIn: .zero)
    for back in [Observation.databaseReady(where: "db", serverVersion: 150_000), .markRestored(7)] {
      let bench = Bench()
      #expect(bench.observes(away, at: 0))
      #expect(!bench.observes(away, at: 30))
      #expect(bench.observes(back, at: 31))
      #expect(bench.observes(away, at: 32))
    }
  }

  /// Metrics stand beside the filter, and count each time.
  @Test func `is thinned out for the log alone`() {
    let (counted, logged) = (Counter(), Counter())
    let both = Observers([counted, RepeatFilter(logged)])
    for _ in 0..<3 { both.observe(.shardPaused(trip, failure: Problem("a"), for: .zero), in: "main") }
    #expect(counted.seen.withLock { $0 } == ["main", "main", "main"])
    #expect(logged.seen.withLock { $0 } == ["main"])
  }

  @Test func `never hides what is no failure`() {
    let bench = Bench()
    for second in 0..<5 { #expect(bench.observes(.shardCaughtUp(trip, position: 5), at: second)) }
  }
}

private final class Counter: Observer {
  let seen = Mutex<[String?]>([])

  func observe(_ observation: Observation, in database: String?) { seen.withLock { $0.append(database) } }
}

/// A filter with a clock in the test's hand.
private final class Bench: Observer, Sendable {
  private let state = Mutex((told: 0, now: ContinuousClock.now))
  private let origin = ContinuousClock.now

  func observe(_ observation: Observation, in database: String?) { state.withLock { $0.told += 1 } }

  private let filter = Mutex<RepeatFilter?>(nil)

  /// Whether the observation came out on the other side.
  func observes(_ observation: Observation, at second: Int) -> Bool {
    let filter = filter.withLock { filter in
      if filter == nil { filter = RepeatFilter(self, clock: { [unowned self] in self.state.withLock { $0.now } }) }
      return filter!
    }
    let before = state.withLock { state in
      state.now = origin + .seconds(second)
      return state.told
    }
    filter.observe(observation)
    return state.withLock { $0.told } > before
  }
}
