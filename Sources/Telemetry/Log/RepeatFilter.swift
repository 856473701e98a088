import Rules
import Synchronization

/// Passes a repeated failure on only sometimes: after one minute, two, four, up to an hour.
///
/// Failures with equal fact, shard and error are the same. A success ends the silence: a failure after it is news.
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
    for ended in observation.endsFailuresOf { state.withLock { $0.end(prefix + ended) } }
    if let (subject, text) = observation.repeatable {
      let now = clock()
      let text = "\(observation.fact.id) \(text)"
      guard state.withLock({ $0.passes(prefix + subject, text, at: now) }) else { return }
    }
    next.observe(observation, in: database)
  }
}

/// The rule behind ``RepeatFilter``.
struct Repeats {
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

  private var silences: [String: Silence] = [:]

  mutating func passes(_ subject: String, _ text: String, at now: ContinuousClock.Instant) -> Bool {
    guard let silence = silences[subject], silence.text == text else {
      silences[subject] = Silence(text, at: now)
      return true
    }
    guard now >= silence.until else { return false }
    silences[subject]?.begin(at: now)
    return true
  }

  mutating func end(_ subject: String) { silences[subject] = nil }
}

extension Observation {
  /// For a failure that may repeat: its subject, and its text.
  fileprivate var repeatable: (subject: String, text: String)? {
    fact.repeats.map { (name($0), failure?.description ?? self[.by] ?? "") }
  }

  /// The subjects that work again.
  fileprivate var endsFailuresOf: [String] { fact.ends.map(name) }

  private func name(_ subject: Fact.Subject) -> String { shard.map { "\($0) \(subject)" } ?? "\(subject)" }
}
