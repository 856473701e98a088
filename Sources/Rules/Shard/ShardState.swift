/// The state of a shard, in the words that `status` shows and `tidemark.shard` stores.
package enum ShardState: String, CaseIterable, Sendable, Hashable {
  /// Known to the database, and no node has run it yet.
  case neverRun = "never run"
  case starting
  /// At the mark, or within a page of it.
  case following
  case catchingUp = "catching up"
  /// In a page that runs longer than expected.
  case slow
  /// A page failed, and the shard retries it; or nothing is proven, and it waits for the mark.
  case retrying
  /// For a limited time: after a failure, or on request.
  case paused
  /// Until an operator starts it, or a rebuild releases it.
  case stopped
  /// Its node no longer runs it.
  case ended

  /// Whether it applies events normally.
  package var isWorking: Bool {
    switch self {
    case .starting, .following, .catchingUp: true
    case .neverRun, .slow, .retrying, .paused, .stopped, .ended: false
    }
  }

  /// How much it needs an operator's attention, from 0: short reports show the most severe state first.
  package var severity: Int {
    switch self {
    case .neverRun, .starting, .following, .catchingUp, .ended: 0
    case .slow: 1
    case .retrying: 2
    case .stopped: 3
    case .paused: 4
    }
  }

  /// The states that an operator should see, most severe first.
  package static let worstFirst = allCases.filter { $0.severity > 0 }.sorted { $0.severity > $1.severity }
}
