import Rules
import Synchronization

/// Passes a repeated failure on only sometimes, and bounds how many different ones it passes on.
///
/// Failures with equal fact, shard and error are the same: such a one passes after one minute, two, four, up to an hour. A success ends
/// the silence: a failure after it is news. Failures that differ, such as those of ten thousand events with an error text each, pass up to
/// ``Repeats/mostInAWindow`` for each fact and shard; the others are counted, and one observation says how many they were. journald drops
/// what a service writes beyond its own bound, whatever it says, so the log of a daemon must stay below that.
package final class RepeatFilter: Observer {
  private let next: any Observer
  private let clock: @Sendable () -> ContinuousClock.Instant
  private let state = Mutex(Repeats())

  package init(
    _ next: any Observer, clock: @escaping @Sendable () -> ContinuousClock.Instant = { ContinuousClock.now }
  ) {
    self.next = next
    self.clock = clock
  }

  package func observe(_ observation: Observation, in database: String?) {
    let prefix = database.map { "\($0)/" } ?? ""
    let now = clock()
    let source = Repeats.Source(fact: observation.fact, shard: observation.shard, database: database)
    let (verdict, left) = state.withLock { state in
      for ended in observation.endsFailuresOf { state.end(prefix + ended) }
      let left = state.left(at: observation.fact == .stopped ? nil : now)
      guard let (subject, text) = observation.repeatable else { return (Repeats.Verdict.passes, left) }
      return (state.verdict(prefix + subject, text, of: source, at: now), left)
    }
    for (source, count) in left {
      next.observe(.failuresLeftOut(source.shard, of: source.fact, count: count), in: source.database)
    }
    switch verdict {
    case .passes: next.observe(observation, in: database)
    case .isFirstLeft: next.observe(.failuresLeftOut(source.shard, of: source.fact, count: nil), in: database)
    case .isLeft: break
    }
  }
}

/// The rule behind ``RepeatFilter``.
struct Repeats {
  /// Which different failures share a bound.
  struct Source: Hashable {
    var fact: Fact
    var shard: ShardName?
    var database: String?
  }

  static let mostInAWindow = 20
  private static let window = Duration.seconds(60)

  private struct Silence {
    var text: String
    var until: ContinuousClock.Instant
    var lengths = Doubling(from: .seconds(60), upTo: .seconds(3600))

    init(_ text: String, at now: ContinuousClock.Instant) {
      self.text = text
      until = now
      begin(at: now)
    }

    mutating func begin(at now: ContinuousClock.Instant) { until = now + lengths.next() }
  }

  private struct Window {
    var until: ContinuousClock.Instant
    var passed = 0
    var left = 0
  }

  private var silences: [String: Silence] = [:]
  private var windows: [Source: Window] = [:]

  enum Verdict {
    case passes, isLeft
    /// The bound is reached just now, which is news too.
    case isFirstLeft
  }

  mutating func verdict(
    _ subject: String, _ text: String, of source: Source, at now: ContinuousClock.Instant
  ) -> Verdict {
    let key = "\(source.fact.id) \(text)"
    if let silence = silences[subject], silence.text == key {
      guard now >= silence.until else { return .isLeft }
      silences[subject]?.begin(at: now)
    } else {
      silences[subject] = Silence(key, at: now)
    }
    var window = windows[source] ?? Window(until: now + Self.window)
    defer { windows[source] = window }
    guard window.passed == Self.mostInAWindow else {
      window.passed += 1
      return .passes
    }
    window.left += 1
    return window.left == 1 ? .isFirstLeft : .isLeft
  }

  mutating func end(_ subject: String) { silences[subject] = nil }

  /// How many failures did not pass, of windows that have ended.
  ///
  /// - Parameter now: nil to end all.
  mutating func left(at now: ContinuousClock.Instant?) -> [(Source, Int)] {
    let ended = windows.filter { window in now.map { $0 >= window.value.until } ?? true }
    for source in ended.keys { windows[source] = nil }
    return ended.compactMap { $0.value.left > 0 ? ($0.key, $0.value.left) : nil }
  }
}

extension Observation {
  /// For a failure that may repeat: its subject, and its text.
  fileprivate var repeatable: (subject: String, text: String)? {
    fact.repeats.map { (name($0), failure?.description ?? self[.by] ?? self[.text] ?? "") }
  }

  /// The subjects that work again.
  fileprivate var endsFailuresOf: [String] { fact.ends.map(name) }

  private func name(_ subject: Fact.Subject) -> String { shard.map { "\($0) \(subject)" } ?? "\(subject)" }
}
