/// What one shard does next: a state machine that knows neither the database nor the clock.
///
/// After every failure the position is read again before the next page, since whether a commit went through may not be known.
package struct Shard: Sendable {
  package enum Command: Sendable, Hashable {
    case readPosition
    case awaitMark(above: Int64)
    case apply(Page)
    /// Wait this long, then until the database has answered, then read the position.
    case awaitDatabase(after: Duration)
    /// Wait, then read the position.
    case wait(Duration)
    case stop
  }

  package enum Condition: Sendable, Hashable {
    case starting
    /// At the mark, or within a page of it.
    case following
    case catchingUp
    case retrying(String)
    case paused(String)
    case stopped(String)

    /// One word for tables.
    package var word: String {
      switch self {
      case .starting: "starting"
      case .following: "following"
      case .catchingUp: "catching up"
      case .retrying: "retrying"
      case .paused: "paused"
      case .stopped: "stopped"
      }
    }

    package var reason: String? {
      switch self {
      case .starting, .following, .catchingUp: nil
      case .retrying(let reason), .paused(let reason), .stopped(let reason): reason
      }
    }
  }

  /// Between two looks at a position that somebody else moved.
  static let orderPause = Duration.seconds(10)
  /// Positions moved by somebody else in a row, until the shard gives way to them.
  static let orderLimit = 3

  package let name: ShardName
  package private(set) var position: Int64?
  package private(set) var condition = Condition.starting
  package private(set) var width = PageWidth()
  /// Failed tries since the last page that was applied.
  package private(set) var attempt = 0

  private var mark: Int64 = 0
  private var retries = Backoff()
  private var connectionRetries = Backoff([.milliseconds(250), .milliseconds(500), .seconds(1), .seconds(5)])
  private var pauses = Backoff([.seconds(30), .seconds(60), .seconds(120), .seconds(240), .seconds(480), .seconds(600)])
  private var timesMoved = 0

  package init(name: ShardName) { self.name = name }

  package mutating func positionRead(_ position: Int64) -> Command {
    self.position = position
    return next()
  }

  package mutating func markMoved(to mark: Int64) -> Command {
    self.mark = mark
    return next()
  }

  package mutating func pageApplied(_ page: Page, took: Duration) -> Command {
    position = page.ceiling
    width.applied(page, took: took, behind: mark - page.ceiling)
    attempt = 0
    timesMoved = 0
    retries.reset()
    connectionRetries.reset()
    pauses.reset()
    condition = mark - page.ceiling > width.width ? .catchingUp : .following
    return next()
  }

  package mutating func failed(_ failureClass: FailureClass, _ reason: String) -> Command {
    attempt += 1
    switch failureClass {
    case .connection:
      condition = .retrying(reason)
      // The database may answer others and not this shard, which must not hammer at it.
      return .awaitDatabase(after: attempt == 1 ? .zero : connectionRetries.next())
    case .transient:
      condition = .retrying(reason)
      return .wait(retries.next())
    case .order:
      timesMoved += 1
      guard timesMoved < Self.orderLimit else {
        condition = .stopped(reason)
        return .stop
      }
      condition = .paused(reason)
      return .wait(Self.orderPause)
    case .event, .definition:
      condition = .paused(reason)
      return .wait(pauses.next())
    }
  }

  private mutating func next() -> Command {
    guard let position else { return .readPosition }
    guard let page = width.next(floor: position, mark: mark) else {
      if attempt == 0 { condition = .following }
      return .awaitMark(above: position)
    }
    return .apply(page)
  }
}
