/// Decides what one shard does next: a state machine that knows neither the database nor the clock.
///
/// After every failure it reads the position again before the next page, since it may not know whether a commit succeeded. Before each
/// command the performer asks ``halted(by:before:)`` whether the shard may continue.
package struct Shard: Sendable {
  package enum Command: Sendable, Hashable {
    case readPosition
    /// - Parameter life: of the mark, when the position was read; if it changes, the position is read again.
    case awaitMark(above: Int64, life: Int = 0)
    case apply(Page)
    /// Wait this long, then until the database answers, then read the position.
    case awaitDatabase(after: Duration)
    /// Search the page for the events that fail, and apply the others; `chunk` is how many to try together at first, 0 for all.
    case isolate(Page, chunk: Int)
    /// Wait, then read the position: between two attempts of one chain.
    case wait(Duration)
    /// The same, and show operators how long.
    case pause(Duration)
    /// The same for every shard of the node.
    case pauseAll(Duration)
    case stop
    case stopAll
    /// Wait until the halt expires or another request comes.
    case halt(Halt)
  }

  package enum Condition: Sendable, Hashable {
    case starting
    /// At the mark, or within a page of it.
    case following
    case catchingUp
    case retrying(String)
    case paused(String)
    case stopped(String)

    package var state: ShardState {
      switch self {
      case .starting: .starting
      case .following: .following
      case .catchingUp: .catchingUp
      case .retrying: .retrying
      case .paused: .paused
      case .stopped: .stopped
      }
    }

    package var reason: String? {
      switch self {
      case .starting, .following, .catchingUp: nil
      case .retrying(let reason), .paused(let reason), .stopped(let reason): reason
      }
    }
  }

  package let name: ShardName
  package private(set) var position: Int64?
  package private(set) var condition = Condition.starting
  package private(set) var width: PageWidth
  /// Failed attempts since the last page that was applied.
  package private(set) var attempt = 0

  private var mark: Int64 = 0
  /// No event has a number above the last page that was applied and up to here.
  private var desert: Int64 = 0
  /// Of the mark, when the position was read.
  private var life = 0
  /// The halt in force, and the command that was next when it came.
  private var halt: (Halt, before: Command)?
  /// The policy's chain for the current failure, and the step it has reached.
  private var chain: [FailureAction] = []
  private var step = 0
  /// The next page has an event that fails, or is likely to.
  private var isIsolating = false
  /// The chains that asked to skip events, while pages are searched: one for each kind of failure in them.
  package private(set) var passingChains: Set<[FailureAction]> = []
  private var poison = PoisonDensity()
  /// Failures in a row that made the next page narrower; they count as no attempt.
  private var narrowings = 0
  /// Sessions lost in a row under a page, without a reason that the server gave.
  private var losses = 0
  /// Whether the last failure made the next page narrower, so that it is tried at once.
  package private(set) var isNarrowing = false
  private var connectionRetries = Backoff([.milliseconds(250), .milliseconds(500), .seconds(1), .seconds(5)])

  package init(name: ShardName, pages: PageWidth.Bounds = .live) {
    self.name = name
    width = PageWidth(pages)
  }

  /// - Parameter life: of the mark, from before the position was read.
  package mutating func positionRead(_ position: Int64, life: Int = 0) -> Command {
    self.position = position
    self.life = life
    return next()
  }

  /// - Parameter life: of the mark; nil if it is that of the position.
  package mutating func markMoved(to mark: Int64, life: Int? = nil) -> Command {
    self.mark = mark
    let next = next()
    // The position may be from before a restart of the server, or from another database.
    return life.map { $0 == self.life } ?? true ? next : .readPosition
  }

  /// - Parameter nextEvent: the number of the first event after an empty page, `Int64.max` if there is none; nil if it was not looked up.
  ///   A hint, which only widens the next page: that page still reads all its numbers.
  package mutating func pageApplied(_ page: Page, took: Duration, nextEvent: Int64? = nil) -> Command {
    if let nextEvent { desert = min(nextEvent - 1, mark) }
    width.applied(page, took: took, behind: mark.less(page.ceiling))
    return applied(page)
  }

  /// A page was searched and its failing events were skipped; it had `events` in all.
  package mutating func pageIsolated(_ page: Page, events: Int, poison: Int) -> Command {
    width.searched(page)
    isIsolating = poison > 0
    if !isIsolating { passingChains = [] }
    self.poison.saw(page, events: events, poison: poison)
    return applied(page)
  }

  private mutating func applied(_ page: Page) -> Command {
    position = page.ceiling
    attempt = 0
    narrowings = 0
    losses = 0
    chain = []
    connectionRetries.reset()
    condition = mark.less(page.ceiling) > width.width ? .catchingUp : .following
    return next()
  }

  /// - Parameters:
  ///   - actions: the policy's chain for this failure; ignored when the connection is lost.
  ///   - page: the page that failed, if it may be narrower.
  ///   - width: how the failure depends on the page's width.
  package mutating func failed(
    _ failureClass: FailureClass, _ reason: String, actions: [FailureAction], page: Page? = nil,
    width dependence: Width = .independent
  ) -> Command {
    isNarrowing = narrows(page, dependence, failureClass, actions)
    if isNarrowing {
      narrowings += 1
      // Once is no trouble: the next page shows that the width was to blame.
      if narrowings > 1 { condition = .retrying(reason) }
      return failureClass == .connection ? .awaitDatabase(after: .zero) : .wait(.zero)
    }
    attempt += 1
    guard failureClass != .connection else {
      condition = .retrying(reason)
      // The database may answer other sessions and not this shard, which must not retry without a delay.
      return .awaitDatabase(after: attempt == 1 ? .zero : connectionRetries.next())
    }
    if actions != chain {
      chain = actions
      step = 0
    } else if step == chain.count, chain.last?.isPause == true {
      // A pause at the end completes the chain: the next failure starts it again.
      step = 0
    }
    guard step < chain.count else {
      condition = .stopped("\(reason) (no actions are left)")
      return .stop
    }
    defer { step += 1 }
    switch chain[step] {
    case .retry(let delay):
      condition = .retrying(reason)
      return .wait(delay)
    case .skip, .ignore:
      isIsolating = true
      passingChains.insert(actions)
      condition = .retrying(reason)
      return .wait(.zero)
    case .pause(let duration):
      condition = .paused(reason)
      return .pause(duration)
    case .pauseAll(let duration):
      condition = .paused(reason)
      return .pauseAll(duration)
    case .stop:
      condition = .stopped(reason)
      return .stop
    case .stopAll:
      condition = .stopped(reason)
      return .stopAll
    }
  }

  /// How a failure depends on the width of its page.
  package enum Width: Sendable, Hashable {
    case independent
    /// A narrower page may pass.
    case dependent
    /// The session was lost under the page, for an unknown reason: the page may have been too much for the server.
    case suspected
    /// The next page has fewer events already, whatever numbers it spans.
    case narrowed
  }

  /// Narrows the next page if this one may have failed because it is wide.
  private mutating func narrows(
    _ page: Page?, _ dependence: Width, _ failureClass: FailureClass, _ actions: [FailureAction]
  ) -> Bool {
    switch dependence {
    case .independent: return false
    case .narrowed: return true
    case .suspected:
      losses += 1
      // Once is an accident.
      guard losses > 1 else { return false }
    // A search divides the page by itself, and knows the event in the end.
    case .dependent: if failureClass == .event, actions.first?.passesEventOver == true { return false }
    }
    return page.map { width.tooWide($0) } ?? false
  }

  /// A new start that forgets earlier failures.
  package mutating func startAfresh() -> Command {
    attempt = 0
    chain = []
    condition = .starting
    connectionRetries.reset()
    return .readPosition
  }

  // MARK: Halts

  /// The command to perform instead, if an operator, a rule for all shards or a rebuild halts the shard.
  ///
  /// - Parameter halt: the one in force; nil if the shard may run.
  package mutating func halted(by halt: Halt?, before command: Command) -> Command {
    guard let halt else { return command }
    // A stopped shard waits for its operator; a rule for all shards does not wake it.
    if command == .stop, halt.isByRule { return command }
    self.halt = (halt, command)
    return .halt(halt)
  }

  /// The halt is over.
  ///
  /// - Parameter isTold: whether this very shard got a request meanwhile, from an operator or a rebuild.
  package mutating func released(isTold: Bool) -> Command {
    defer { halt = nil }
    // A rule for all shards interrupts the current chain, which then continues. An operator's request starts a new one.
    guard let (halt, command) = halt, halt.isByRule, !isTold else { return startAfresh() }
    switch command {
    case .pause, .stop: return command
    case .readPosition, .awaitMark, .apply, .isolate, .awaitDatabase, .wait, .pauseAll, .stopAll, .halt:
      return .readPosition
    }
  }

  /// A new request, to this shard or to all, cut a wait short; ``halted(by:before:)`` gets the request itself.
  ///
  /// - Parameters:
  ///   - left: of the time to wait.
  ///   - isTold: whether the request was for this very shard.
  package mutating func interrupted(_ command: Command, left: Duration = .zero, isTold: Bool) -> Command {
    switch command {
    case .awaitMark: command
    case .awaitDatabase: .awaitDatabase(after: .zero)
    case .pause: isTold ? startAfresh() : .pause(left)
    case .stop: isTold ? startAfresh() : .stop
    case .readPosition, .apply, .isolate, .wait, .pauseAll, .stopAll, .halt: .readPosition
    }
  }

  private mutating func next() -> Command {
    guard let position else { return .readPosition }
    guard let page = width.next(floor: position, mark: mark, desert: desert) else {
      // Also after a failure: with nothing to apply there is nothing to retry. If the shard fails again, the chain continues.
      condition = .following
      return .awaitMark(above: position, life: life)
    }
    guard isIsolating else { return .apply(page) }
    return .isolate(Page(floor: page.floor, ceiling: page.floor + min(page.width, poison.width)), chunk: poison.chunk)
  }
}
