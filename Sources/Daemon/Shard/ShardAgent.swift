import Books
import Concurrency
import EventStore
import Glibc
package import Postgres
import Rules
import Telemetry

/// Runs one shard: performs what the rule ``Shard`` decides, page after page, until the daemon stops.
///
/// It owns no session: each page borrows one from the pool, so many shards share a few connections.
package struct ShardAgent: Service {
  package var context: ShardContext
  package var pool: SessionPool
  package var marks: MarkBoard
  package var health: HealthBoard
  package var requests: RequestBoard
  /// Reads for plugins.
  package var feed: EventFeed
  /// The shards that the settings declare now.
  var declared: @Sendable () async -> [ShardName]
  /// What becomes of the shard's rows when the numbers of the store have begun anew.
  var onReset = Era.OnReset.wait
  /// Set if the projection is a plugin.
  var plugin: PluginProjector?

  var name: ShardName { context.name }
  var observer: any Observer { context.observer }
  private var definition: ProjectionDefinition { context.definition }
  private var key: String { "\(name)" }

  private var runner: PageRunner {
    let applier: any PageApplier =
      if let plugin { plugin } else {
        SQLPages(context: context, target: .live(shard: key), sessions: .proven(pool, marks))
      }
    return PageRunner(
      context: context, applier: applier,
      onSlow: { page, lasted in
        // The page itself goes on, so a look that fails is no failure.
        let hindrance = try? await pool.hindrance(of: key)
        observer.observe(.pageSlow(name, page, for: lasted, hindrance: hindrance))
        await health.set(
          name, state: .slow,
          reason: "page \(page.floor + 1) to \(page.ceiling) has been running for \(lasted.brief)"
            + (hindrance.map { "; it \($0)" } ?? ""),
          position: page.floor)
      })
  }

  package func run() async throws {
    guard let declaration = definition.plugin, plugin == nil else { return try await follow() }
    try await run(declaration)
  }

  private func follow() async throws {
    var rule = Shard(name: name)
    await requests.began(name)
    do {
      try await follow(&rule)
    } catch {
      await requests.ended(name)
      throw error
    }
    await requests.ended(name)
    await health.end(name)
    observer.observe(.shardEnded(name, position: rule.position))
  }

  private func follow(_ rule: inout Shard) async throws {
    var command = Shard.Command.readPosition
    var knowsRequests = false
    // Set until the shard has reached a mark above which nothing is outstanding.
    var isBehind = false
    while !Stop.current.isRequested {
      try Task.checkCancellation()
      let before = rule.condition
      do {
        if !knowsRequests { try await untilRequestsAreKnown() }
        knowsRequests = true
        let serial = await requests.serial(of: name)
        let (halt, revision) = await requests.current(name)
        command = rule.halted(by: halt, before: command)
        if case .halt(let halt) = command {
          command = try await standStill(halt, &rule, revision, obeying: serial)
          continue
        }
        await health.set(
          name, state: rule.condition.state, reason: rule.condition.reason, position: rule.position, obeyed: serial)
        command = try await perform(command, &rule, revision)
      } catch let error as CancellationError {
        // A stop of the daemon ends a wait at once, a page only after its grace period.
        if !Stop.current.isRequested { throw error }
      }
      if before.reason != nil, rule.condition.reason == nil { observer.observe(.shardResumed(name)) }
      if rule.condition == .catchingUp { isBehind = true }
      if isBehind, rule.condition == .following, let mark = await marks.current, mark.isAtTip,
        rule.position ?? 0 >= mark.sequence
      {
        isBehind = false
        observer.observe(.shardCaughtUp(name, position: rule.position ?? 0))
      }
    }
  }

  private func perform(
    _ command: Shard.Command, _ rule: inout Shard, _ revision: Halts.Revision
  ) async throws -> Shard.Command {
    switch command {
    case .readPosition:
      // Over a distance, opening a session takes as long as the first proof: both at once.
      if rule.position == nil { try? await pool.withSession(for: key, unlessStopped: true) { _ in } }
      // The session of the mark finds out first whether the numbers are those on record.
      guard try await unlessRevised(revision, { try await marks.mark { _ in true } }) != nil else {
        return await interrupted(command, &rule, revision)
      }
      let life = await marks.life
      let isFirst = rule.position == nil
      let step = try await runner.attempt(&rule) { rule in
        if plugin != nil, !(try await letRebuildGoFirst(unless: revision)) { return .readPosition }
        let position = try await start(besides: await declared()).position(pool: pool, marks: marks)
        if isFirst {
          observer.observe(.shardStarted(name, position: position))
          for risk in definition.widthDependences { observer.observe(.statementAtRisk(name, failure: risk)) }
          let (pool, key, work) = (pool, key, definition.fingerprint)
          let hasChanged = try await stoppable {
            try await pool.withSession(for: key) {
              try await ShardRequests().remember(work.work, same: work.works, of: key, $0)
            }
          }
          if hasChanged, position > 0 { observer.observe(.definitionChanged(name, position: position)) }
          // The shard has started, so earlier failures no longer count.
          _ = rule.startAfresh()
        }
        try await plugin?.start(at: position)
        return rule.positionRead(position, life: life)
      }
      if onReset == .rebuild, step.failed?.failure.code == .store(.mismatch) { await replaceRowsOfOldEra() }
      return told(step, rule)
    case .awaitMark(let position, let life):
      let mark = try await unlessRevised(revision) {
        try await marks.mark { $0.sequence > position || $0.life != life }
      }
      guard let mark else { return await interrupted(command, &rule, revision) }
      return rule.markMoved(to: mark.sequence, life: mark.life)
    case .apply(let page):
      return told(try await runner.apply(page, .whole, &rule), rule)
    case .isolate(let page, let chunk):
      return told(try await runner.apply(page, .searchingPoison(chunk: chunk), &rule), rule)
    case .awaitDatabase(let delay):
      if let next = try await wait(delay, during: command, &rule, revision) { return next }
      // A mark proven after now proves that the database answers.
      let now = ContinuousClock.now
      _ = try await stoppable { try await marks.mark { $0.provenAt > now } }
      return .readPosition
    case .wait(let delay):
      return try await wait(delay, during: command, &rule, revision) ?? .readPosition
    case .pause(let length):
      await health.set(
        name, state: rule.condition.state,
        reason: "\(rule.condition.reason ?? "") (until \(timeOfDay(in: length)))", position: rule.position)
      return try await wait(length, during: command, &rule, revision) ?? .readPosition
    case .pauseAll(let length):
      await requests.haltAll(for: length, because: rule.condition.reason ?? "", in: name)
      return .readPosition
    case .stopAll:
      await requests.haltAll(for: nil, because: rule.condition.reason ?? "", in: name)
      return .readPosition
    case .stop:
      // So that the operator may replace the program before the shard starts again.
      await plugin?.standDown()
      try await stoppable { try await requests.change(name, from: revision) }
      return await interrupted(command, &rule, revision)
    case .halt(let halt):
      return try await standStill(halt, &rule, revision)
    }
  }

  private func replaceRowsOfOldEra() async {
    // A failure shows in the wait itself, which ends with another attempt.
    try? await stoppable { [pool, key, definition, context] in
      try await pool.withSession(for: key) {
        try await ResetRebuild(definition, shape: context.shape).request($0)
      }
    }
  }

  private func untilRequestsAreKnown() async throws {
    try await watched(
      { lasted in
        observer.observe(
          .shardWaiting(
            name,
            reason:
              "waiting for \(lasted.brief) to read its requested state (run, pause or stop) from tidemark.shard"))
      }, { try await stoppable { try await requests.untilKnown() } })
  }

  // MARK: Waits

  /// Makes the shard wait for an operator, a rule for all shards, or a rebuild, until that changes or its time is over.
  private func standStill(
    _ halt: Halt, _ rule: inout Shard, _ revision: Halts.Revision, obeying serial: Int64? = nil
  ) async throws -> Shard.Command {
    // So that the operator may replace the program meanwhile. A rebuild runs its own instance of the plugin, and this one may remember the
    // old read model.
    await plugin?.standDown()
    let left = halt.end.map { ContinuousClock.now.duration(to: $0) }
    let until = left.map { ", until \(timeOfDay(in: $0))" } ?? ""
    await health.set(
      name, state: halt.state, reason: "by \(halt.source)\(until)", position: rule.position, obeyed: serial)
    observer.observe(.shardHalted(name, by: "\(halt.source)", for: left))
    await requests.standsStill(name, at: revision)
    if let end = halt.end {
      _ = try await unlessRevised(revision) { try await Task.sleep(until: end) }
    } else {
      try await stoppable { try await requests.change(name, from: revision) }
    }
    let now = await requests.current(name)
    if now.halt == nil { observer.observe(.shardResumed(name)) }
    return rule.released(isTold: now.revision.own != revision.own)
  }

  /// Waits. Returns nil after that time, or the next command if the shard's revision changed first.
  private func wait(
    _ length: Duration, during command: Shard.Command, _ rule: inout Shard, _ revision: Halts.Revision
  ) async throws -> Shard.Command? {
    guard length > .zero else { return nil }
    let end = ContinuousClock.now + length
    let isOver: Void? = try await unlessRevised(revision) { try await Task.sleep(until: end) }
    guard isOver == nil else { return nil }
    return await interrupted(command, left: ContinuousClock.now.duration(to: end), &rule, revision)
  }

  private func interrupted(
    _ command: Shard.Command, left: Duration = .zero, _ rule: inout Shard, _ revision: Halts.Revision
  ) async -> Shard.Command {
    let isTold = await requests.current(name).revision.own != revision.own
    return rule.interrupted(command, left: max(.zero, left), isTold: isTold)
  }

  /// Runs a wait; returns nil if the shard's revision changed first.
  func unlessRevised<T: Sendable>(
    _ revision: Halts.Revision, _ work: @escaping @Sendable () async throws -> T
  ) async throws -> T? {
    try await stoppable {
      try await withThrowingTaskGroup(of: T?.self) { group in
        group.addTask { try await work() }
        group.addTask {
          try await requests.change(name, from: revision)
          return nil
        }
        defer { group.cancelAll() }
        return try await group.next()!
      }
    }
  }

  private func start(besides declared: [ShardName]) -> ShardStart {
    ShardStart(
      definition: definition, positions: Positions(context.shape),
      tables: TableCheck(definition, declared: declared.map { "\($0)" }, shape: context.shape), key: key,
      observer: observer)
  }

  /// Reports the outcome of a step, and returns the next command.
  private func told(_ step: PageRunner.Step, _ rule: Shard) -> Shard.Command {
    if let (page, took) = step.applied { observer.observe(.pageApplied(name, page, took: took)) }
    guard let failed = step.failed, !step.isSearch else { return step.next }
    if step.isNarrowing {
      observer.observe(.pageNarrowed(name, failure: failed.failure, width: rule.width.width))
      return step.next
    }
    switch step.next {
    case .awaitDatabase(let delay), .wait(let delay):
      observer.observe(.shardRetrying(name, failure: failed.failure, retryIn: delay, attempt: rule.attempt))
    case .pause(let length) where failed.failure.code == .store(.notAtRest):
      observer.observe(.shardRefused(name, failure: failed.failure, retryIn: length))
    case .pause(let length) where failed.failure.code == .store(.mismatch):
      observer.observe(.shardMismatched(name, failure: failed.failure, retryIn: length))
    case .pause(let length) where failed.failure.code == .store(.moved):
      observer.observe(.shardMoved(name, failure: failed.failure, retryIn: length))
    case .pause(let length), .pauseAll(let length):
      observer.observe(.shardPaused(name, failure: failed.failure, for: length))
    case .stop, .stopAll:
      observer.observe(.shardStopped(name, failure: failed.failure))
    case .readPosition, .awaitMark, .apply, .isolate, .halt: break
    }
    return step.next
  }
}

/// The local time at which a duration from now ends.
private func timeOfDay(in length: Duration) -> String {
  var time = Glibc.time(nil) + Int(length.components.seconds)
  var parts = tm()
  localtime_r(&time, &parts)
  func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
  return "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
}
