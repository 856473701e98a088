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

  /// A trigger may raise one for each row.
  @Test func `of notices of the server is bounded too, the same words and others`() {
    let seen = Entries()
    let clock = Mutex(ContinuousClock.now)
    let filter = RepeatFilter(seen, clock: { clock.withLock { $0 } })
    for _ in 1...1_000 { filter.observe(.serverNotice(severity: "NOTICE", message: "same"), in: nil) }
    #expect(seen.count(of: .serverNotice) == 1)
    for row in 1...1_000 { filter.observe(.serverNotice(severity: "NOTICE", message: "row \(row)"), in: nil) }
    #expect(seen.count(of: .serverNotice) == 20 && seen.count(of: .failuresLeftOut) == 1)
  }

  /// Ten thousand events that each fail with a text of their own must not push other entries out of the journal.
  @Test func `passes up to a bound when each one differs, and says how many it left out`() {
    let seen = Entries()
    let clock = Mutex(ContinuousClock.now)
    let filter = RepeatFilter(seen, clock: { clock.withLock { $0 } })
    for sequence in 1...10_000 {
      filter.observe(.deadLetter(trip, sequence: Int64(sequence), failure: Problem("no number: \(sequence)")), in: nil)
    }
    // Another shard has a bound of its own.
    filter.observe(.deadLetter(day, sequence: 1, failure: Problem("no date")), in: nil)
    #expect(seen.count(of: .deadLetter) == 21)
    #expect(seen.leftOut == [nil])
    clock.withLock { $0 += .seconds(60) }
    filter.observe(.shardCaughtUp(trip, position: 10_000), in: nil)
    #expect(seen.leftOut == [nil, 9_980])
    filter.observe(.deadLetter(trip, sequence: 10_001, failure: Problem("no number: 10001")), in: nil)
    #expect(seen.count(of: .deadLetter) == 22)
  }

  @Test func `are counted to the last one when the daemon stops`() {
    let seen = Entries()
    let filter = RepeatFilter(seen)
    for sequence in 1...25 {
      filter.observe(
        .deadLetter(trip, sequence: Int64(sequence), failure: Problem("no number: \(sequence)")), in: "main")
    }
    filter.observe(.stopped, in: nil)
    #expect(seen.leftOut == [nil, 5])
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

private final class Entries: Observer {
  private let seen = Mutex<[Observation]>([])

  func observe(_ observation: Observation, in database: String?) { seen.withLock { $0.append(observation) } }

  func count(of fact: Fact) -> Int { seen.withLock { $0.count { $0.fact == fact } } }

  /// The counts of failures that were left out.
  var leftOut: [Int?] { seen.withLock { $0.filter { $0.fact == .failuresLeftOut }.map { $0[.count] } } }
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
