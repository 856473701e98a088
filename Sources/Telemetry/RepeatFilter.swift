import Rules
import Synchronization

/// Lets the same failure through now and then instead of every time: after one minute, two, four, up to an hour.
///
/// What counts as the same is kind, shard and message. That it works again ends the silence: when the failure comes again after that, it
/// is news.
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
      let text = "\(observation.kind.rawValue) \(text)"
      guard state.withLock({ $0.passes(prefix + subject, text, at: now) }) else { return }
    }
    next.observe(observation, in: database)
  }
}

/// The rule behind ``RepeatFilter``.
struct Repeats {
  static let first = Duration.seconds(60)
  static let longest = Duration.seconds(3600)

  private struct Silence {
    var text: String
    var until: ContinuousClock.Instant
    var length: Duration
  }

  private var silences: [String: Silence] = [:]

  mutating func passes(_ subject: String, _ text: String, at now: ContinuousClock.Instant) -> Bool {
    guard let silence = silences[subject], silence.text == text else {
      silences[subject] = Silence(text: text, until: now + Self.first, length: Self.first)
      return true
    }
    guard now >= silence.until else { return false }
    let length = min(silence.length * 2, Self.longest)
    silences[subject] = Silence(text: text, until: now + length, length: length)
    return true
  }

  mutating func end(_ subject: String) { silences[subject] = nil }
}

extension Observation {
  /// For a failure that may come again and again: whose it is, and which.
  fileprivate var repeatable: (subject: String, text: String)? {
    switch self {
    case .databaseUnreachable(_, let failure, _): ("database", failure.message)
    case .databaseRefused(let failure, _): ("store", failure.message)
    case .markRefused(let failure), .markFailed(let failure, _): ("mark", failure.message)
    case .leadershipBlocked(let shard, let who): ("\(shard) lock", who)
    case .leadershipLost(let failure, _), .otherNode(let failure): ("leadership", failure.message)
    case .deadLetter(let shard, _, let failure): ("\(shard) letters", failure.message)
    case .pluginLost(let shard, let failure): ("\(shard) plugin", failure.message)
    case .gapsUnwatched(let failure): ("gaps", failure.message)
    case .shardRetrying(let shard, let failure, _, _), .shardPaused(let shard, let failure, _),
      .shardRefused(let shard, let failure, _):
      ("\(shard)", "\(failure)")
    default: nil
    }
  }

  /// The subjects that work again.
  fileprivate var endsFailuresOf: [String] {
    switch self {
    case .databaseReady: ["database"]
    // The high-water agent has a session again: the first to notice that the database is back.
    case .markRestored: ["database", "store"]
    case .markMoved: ["mark"]
    case .leadershipTaken(let shard, _): ["\(shard) lock"]
    case .nodesChanged: ["leadership"]
    case .shardResumed(let shard), .shardStarted(let shard, _): ["\(shard)"]
    default: []
    }
  }
}
