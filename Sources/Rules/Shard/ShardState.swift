/// How a shard is doing, in the words that `status` shows and `tidemark.shard` keeps.
package enum ShardState: String, CaseIterable, Sendable, Hashable {
  /// Known to the database, and no node has run it yet.
  case neverRun = "never run"
  case starting
  /// At the mark, or within a page of it.
  case following
  case catchingUp = "catching up"
  /// In a page that takes long.
  case slow
  /// A page failed, and is tried again.
  case retrying
  /// For a time: after a failure, or on request.
  case paused
  /// Until an operator starts it, or a rebuild lets it go on.
  case stopped
  /// Its node runs it no longer.
  case ended

  /// Whether it applies events, with nothing in the way.
  package var isWorking: Bool {
    switch self {
    case .starting, .following, .catchingUp: true
    case .neverRun, .slow, .retrying, .paused, .stopped, .ended: false
    }
  }

  /// How much it needs an operator's eye, from 0: where there is room for few words, the most severe state comes first.
  package var severity: Int {
    switch self {
    case .neverRun, .starting, .following, .catchingUp, .ended: 0
    case .slow: 1
    case .retrying: 2
    case .stopped: 3
    case .paused: 4
    }
  }

  /// Those that an operator should see, most severe first.
  package static let worstFirst = allCases.filter { $0.severity > 0 }.sorted { $0.severity > $1.severity }
}
