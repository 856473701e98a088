import Books
import Concurrency
package import EventStore
import Glibc
package import Postgres
package import Rules
package import Telemetry

/// Runs one shard: performs what the rule ``Shard`` decides, page after page, until the daemon stops.
///
/// It owns nothing: a page borrows a session from the pool, so many shards share a few connections.
package struct ShardAgent: Service {
  package var definition: ProjectionDefinition
  package var shape: StoreShape
  package var pool: SessionPool
  package var marks: MarkBoard
  package var health: HealthBoard
  package var wishes: WishBoard
  /// What is done about failures just now.
  package var policy: @Sendable () async -> FailurePolicy
  package var node: String
  package var observer: any Observer
  /// Reads for plugins.
  package var feed: EventFeed
  /// The name of the database, for plugins.
  package var database: String
  /// Of a projection that is a plugin.
  var plugin: PluginProjector?

  var name: ShardName { definition.shard }
  private var key: String { "\(definition.shard)" }

  package func run() async throws {
    guard let declaration = definition.plugin, plugin == nil else { return try await follow() }
    try await run(declaration)
  }

  private func follow() async throws {
    var rule = Shard(name: name)
    // Of the mark when the position was last read.
    var life = 0
    var command = Shard.Command.readPosition
    var knowsWishes = false
    while !Stop.current.isRequested {
      try Task.checkCancellation()
      let before = rule.condition
      do {
        if !knowsWishes { try await untilWishesAreKnown() }
        knowsWishes = true
        let (wish, revision) = await wishes.current(name)
        // A shard that has stopped waits for an operator, whatever a rule wants of all.
        if wish != .run, !(command == .stop && wish.isByRule) {
          try await obey(wish, revision, rule)
          // A rule's word is a step of the chain under way; an operator's begins afresh.
          let now = await wishes.current(name).revision
          command = wish.isByRule && now.own == revision.own ? command.afterOthers : rule.startAfresh()
          continue
        }
        await health.set(name, state: rule.condition.state, reason: rule.condition.reason, position: rule.position)
        command = try await perform(command, &rule, &life, revision)
      } catch let error as CancellationError {
        // A wait ends at once when the daemon stops; a page only when its time is over.
        if !Stop.current.isRequested { throw error }
      }
      if before.reason != nil, rule.condition.reason == nil { observer.observe(.shardResumed(name)) }
      if before != rule.condition, rule.condition == .following, before == .catchingUp {
        observer.observe(.shardCaughtUp(name, position: rule.position ?? 0))
      }
    }
    await health.end(name)
    observer.observe(.shardEnded(name, position: rule.position))
  }

  private func perform(
    _ command: Shard.Command, _ rule: inout Shard, _ life: inout Int, _ revision: WishBoard.Revision
  ) async throws -> Shard.Command {
    switch command {
    case .readPosition:
      life = await marks.life
      let isFirst = rule.position == nil
      return try await attempt(&rule) { rule in
        if plugin != nil { try await letRebuildGoFirst() }
        let position = try await start().position(pool: pool, marks: marks)
        if isFirst {
          observer.observe(.shardStarted(name, position: position))
          let hasChanged = try await pool.withSession(for: key, unlessStopped: true) {
            try await ShardWishes().remember(definition.fingerprint.work, of: key, $0)
          }
          if hasChanged, position > 0 { observer.observe(.definitionChanged(name, position: position)) }
          // Whatever kept it from starting is over.
          _ = rule.startAfresh()
        }
        try await plugin?.start(at: position)
        return rule.positionRead(position)
      }
    case .awaitMark(let position):
      let since = life
      let mark = try await unlessWished(revision) {
        try await marks.mark { $0.sequence > position || $0.life != since }
      }
      guard let mark else { return command }
      let next = rule.markMoved(to: mark.sequence)
      return mark.life == since ? next : .readPosition
    case .apply(let page):
      return try await attempt(&rule) { rule in try await apply(page, .whole, &rule) }
    case .isolate(let page, let chunk):
      return try await attempt(&rule) { rule in try await apply(page, .isolating(chunk: chunk), &rule) }
    case .awaitDatabase(let delay):
      _ = try await unlessWished(revision) { try await Task.sleep(for: delay) }
      // A mark that is proven after now is proof that the database answers.
      let now = ContinuousClock.now
      _ = try await stoppable { try await marks.mark { $0.provenAt > now } }
      return .readPosition
    case .wait(let delay):
      if delay > .zero { _ = try await unlessWished(revision) { try await Task.sleep(for: delay) } }
      return .readPosition
    case .pause(let length):
      return try await pause(length, &rule, revision)
    case .pauseAll(let length):
      await wishes.haltAll(for: length, shard: name, reason: rule.condition.reason ?? "")
      return .readPosition
    case .stopAll:
      await wishes.haltAll(for: nil, shard: name, reason: rule.condition.reason ?? "")
      return .readPosition
    case .stop:
      // What it is started with again is the program as it is then.
      await plugin?.standDown()
      _ = try await unlessWished(revision) { try await Task.sleep(for: .seconds(86_400)) }
      // After a day only the wait begins again, and what a rule wants of all wakes nobody; whoever is told to run tries afresh.
      return await wishes.current(name).revision.own == revision.own ? .stop : rule.startAfresh()
    }
  }

  private func pause(_ length: Duration, _ rule: inout Shard, _ revision: WishBoard.Revision) async throws
    -> Shard.Command
  {
    await health.set(
      name, state: rule.condition.state, reason: "\(rule.condition.reason ?? "") (until \(timeOfDay(in: length)))",
      position: rule.position)
    let end = ContinuousClock.now + length
    let isOver: Void? = try await unlessWished(revision) { try await Task.sleep(until: end) }
    if isOver != nil { return .readPosition }
    guard await wishes.current(name).revision.own == revision.own else { return rule.startAfresh() }
    return .pause(max(.zero, ContinuousClock.now.duration(to: end)))
  }

  private func untilWishesAreKnown() async throws {
    try await watched(
      { lasted in
        observer.observe(
          .shardWaiting(
            name, reason: "what operators want of it could not be read from tidemark.shard for \(lasted.brief)"))
      }, { try await stoppable { try await wishes.untilKnown() } })
  }

  /// Does what an operator, or a rule for all shards, wants, until that changes or its time is over.
  private func obey(_ wish: WishBoard.Wish, _ revision: WishBoard.Revision, _ rule: Shard) async throws {
    // So that an operator may exchange the program meanwhile. Who rebuilds has a plugin of its own, and what this one remembers is of the
    // old read model.
    await plugin?.standDown()
    switch wish {
    case .run: return
    case .stop(let by):
      await health.set(name, state: .stopped, reason: "by \(by)", position: rule.position)
      observer.observe(.shardHalted(name, by: by, for: nil))
      try await stoppable { try await wishes.change(name, from: revision) }
    case .pause(let until, let by):
      let left = until.map { ContinuousClock.now.duration(to: $0) }
      let end = left.map { ", until \(timeOfDay(in: $0))" } ?? ""
      await health.set(name, state: .paused, reason: "by \(by)\(end)", position: rule.position)
      observer.observe(.shardHalted(name, by: by, for: left))
      _ = try await unlessWished(revision) { try await Task.sleep(for: max(.zero, left ?? .seconds(86_400))) }
    }
    if await wishes.current(name).wish == .run { observer.observe(.shardResumed(name)) }
  }

  /// Runs a wait; nil when an operator's word came first.
  private func unlessWished<T: Sendable>(
    _ revision: WishBoard.Revision, _ work: @escaping @Sendable () async throws -> T
  ) async throws -> T? {
    try await stoppable {
      try await withThrowingTaskGroup(of: T?.self) { group in
        group.addTask { try await work() }
        group.addTask {
          try await wishes.change(name, from: revision)
          return nil
        }
        defer { group.cancelAll() }
        return try await group.next()!
      }
    }
  }

  /// Makes the shard stand still, and returns when the page under way is done; or lets it go on, from where its position then is.
  func hold(_ holds: Bool) async throws {
    // So that another hold, which may come at once, waits for the shard's own word.
    if !holds, let entry = await health.entries[name], entry.reason == "by \(WishBoard.rebuild)" {
      await health.set(name, state: .starting, reason: nil, position: entry.position)
    }
    await wishes.hold(name, holds)
    do {
      while holds, let entry = await health.entries[name], entry.reason != "by \(WishBoard.rebuild)" {
        try await Task.sleep(for: .milliseconds(5))
      }
    } catch {
      // Whoever asked for it is gone, and nobody else would ever let the shard go on.
      await wishes.hold(name, false)
      throw error
    }
  }

  private func start() -> ShardStart {
    ShardStart(definition: definition, positions: Positions(shape), key: key, observer: observer)
  }

  private func apply(_ page: Page, _ manner: Projector.Manner, _ rule: inout Shard) async throws -> Shard.Command {
    let (policy, chains) = (await policy(), rule.passingChains)
    let projector = Projector(definition, shape: shape, policy: policy, node: node, chains: chains)
    let began = ContinuousClock.now
    let outcome: PageOutcome = try await whilePage(page) {
      if let plugin { return try await plugin.apply(page, manner, policy: policy, chains: chains) }
      return try await pool.withSession(for: key, unlessStopped: true) { session in
        // See MarkBoard: a mark is good only on a session that was open when its proof began.
        let mark = try await stoppable { try await marks.mark { $0.provenAt >= session.openedAt } }
        guard mark.sequence >= page.ceiling else { return .beyond(mark: mark.sequence) }
        return .applied(try await projector.apply(page, manner, on: session))
      }
    }
    guard case .applied(let applied) = outcome else {
      if case .beyond(let mark) = outcome { _ = rule.markMoved(to: mark) }
      return .readPosition
    }
    let took = ContinuousClock.now - began
    observer.observe(applied.letters, of: name)
    observer.observe(.pageApplied(name, applied.page, took: took))
    return manner == .whole
      ? rule.pageApplied(applied.page, took: took)
      : rule.pageIsolated(applied.page, events: applied.events ?? 0, poison: applied.poison)
  }

  /// Runs a page, and says so when it takes long.
  private func whilePage<T: Sendable>(_ page: Page, _ work: @escaping @Sendable () async throws -> T) async throws -> T
  {
    try await watched(
      { lasted in
        observer.observe(.pageSlow(name, page, for: lasted))
        await health.set(
          name, state: .slow,
          reason: "the page \(page.floor + 1) to \(page.ceiling) has been under way for \(lasted.brief)",
          position: page.floor)
      }, work)
  }

  /// Runs one step; a failure becomes the rule's business, and is told to the operator.
  private func attempt(
    _ rule: inout Shard, _ step: (inout Shard) async throws -> Shard.Command
  ) async throws -> Shard.Command {
    let failed: PageFailure
    do {
      return try await step(&rule)
    } catch {
      failed = try PageFailure(of: error)
    }
    let actions = await policy().actions(for: failed.facts(projection: definition.name))
    let command = rule.failed(failed.failureClass, "\(failed.failure)", actions: actions)
    switch command {
    case .awaitDatabase(let delay):
      observer.observe(.shardRetrying(name, failure: failed.failure, retryIn: delay, attempt: rule.attempt))
    // To look for the event that fails is no news; what is found is.
    case .wait(.zero) where actions.first?.passesEventOver ?? false: break
    case .wait(let delay):
      observer.observe(.shardRetrying(name, failure: failed.failure, retryIn: delay, attempt: rule.attempt))
    case .pause(let length) where failed.failure.code == .store(.notAtRest):
      observer.observe(.shardRefused(name, failure: failed.failure, retryIn: length))
    case .pause(let length), .pauseAll(let length):
      observer.observe(.shardPaused(name, failure: failed.failure, for: length))
    case .stop, .stopAll:
      observer.observe(.shardStopped(name, failure: failed.failure))
    case .readPosition, .awaitMark, .apply, .isolate: break
    }
    return command
  }
}

extension Shard.Command {
  /// What is left of it after all shards had to wait: a pause of the shard's own and a stop go on, anything else is looked at again.
  fileprivate var afterOthers: Self {
    switch self {
    case .pause, .stop: self
    default: .readPosition
    }
  }
}

/// The time of day when a duration from now is over, for people.
private func timeOfDay(in length: Duration) -> String {
  var time = Glibc.time(nil) + Int(length.components.seconds)
  var parts = tm()
  localtime_r(&time, &parts)
  func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
  return "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
}
