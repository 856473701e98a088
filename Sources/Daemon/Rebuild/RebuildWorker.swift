import Books
import EventStore
import Postgres
import Rules
import Telemetry

/// Applies pages of one rebuild, or of one worker's share of its streams, up to a given sequence; performs the rule ``Shard``, as
/// ``ShardAgent`` does for a live shard.
///
/// It keeps the learned page width from one round to the next.
actor RebuildWorker {
  private let context: ShardContext
  private let rebuild: Int64
  private let target: PageTarget
  private let pool: SessionPool
  /// Set if the projection is a plugin.
  private let plugin: RebuildPlugin?
  private let runner: PageRunner
  private var rule: Shard
  /// The row has the failure that delays the rebuild.
  private var isTroubled = false

  /// A page failed and could be retried, but the live shard must not wait for that.
  struct Faltered: Error { var failure: Problem }

  init(
    _ context: ShardContext, rebuild: Int64, target: PageTarget, pool: SessionPool, plugin: RebuildPlugin? = nil
  ) {
    self.context = context
    self.rebuild = rebuild
    self.target = target
    self.pool = pool
    self.plugin = plugin
    let applier: any PageApplier =
      if let plugin { plugin.projector } else {
        SQLPages(context: context, target: target, sessions: .pool(pool))
      }
    runner = PageRunner(context: context, applier: applier)
    rule = Shard(name: context.name, pages: plugin == nil ? .rebuild : .live)
  }

  private var key: String { "\(context.name)" }

  /// Returns when the position is at `end`.
  ///
  /// - Parameter isPatient: whether to wait and retry a page that failed.
  /// - Throws: ``Problem`` if a page fails for good, or another session moves the position; ``Faltered`` if a page failed that could be
  ///   retried, and `isPatient` is false.
  func replay(to end: Int64, isPatient: Bool = true) async throws {
    await plugin?.pages.go(to: end)
    var rule = rule
    // Keeps the learned page width for the next round.
    defer { self.rule = rule }
    var command = rule.startAfresh()
    while true {
      try Task.checkCancellation()
      switch command {
      case .readPosition:
        let step = try await runner.attempt(&rule) { rule in
          let position = try await pool.withSession(for: key) { try await self.position($0) }
          if position < end { try await plugin?.projector.start(at: position) }
          _ = rule.positionRead(position)
          return rule.markMoved(to: end)
        }
        command = try await told(step, rule, isPatient)
      case .awaitMark: return
      case .apply(let page): command = try await told(try await runner.apply(page, .whole, &rule), rule, isPatient)
      case .isolate(let page, let chunk):
        command = try await told(
          try await runner.apply(page, .searchingPoison(chunk: chunk), &rule), rule, isPatient)
      case .awaitDatabase(let delay):
        if delay > .zero { try await Task.sleep(for: delay) }
        // A page that cannot even begin is no further failure.
        var reattempt = Reattempt()
        while let refusal = await pool.refusal() {
          try await Task.sleep(for: reattempt.next(after: Problem(refusal)))
        }
        command = .readPosition
      case .wait(let delay), .pause(let delay), .pauseAll(let delay):
        if delay > .zero { try await Task.sleep(for: delay) }
        command = .readPosition
      case .stop, .stopAll, .halt: throw CancellationError()
      }
    }
  }

  private func position(_ session: Session) async throws -> Int64 {
    switch target {
    case .live(let shard), .letter(let shard, _, _): return try await Positions(context.shape).read(shard, session) ?? 0
    case .rebuild(let id, let worker, _, _, _):
      guard let position = try await RebuildTable().worker(id, worker, session) else {
        throw Problem.begunAnew
      }
      return position
    }
  }

  /// Reports the outcome of a step, and returns the next command.
  private func told(_ step: PageRunner.Step, _ rule: Shard, _ isPatient: Bool) async throws -> Shard.Command {
    if step.applied != nil, isTroubled { await tell(nil) }
    guard let failed = step.failed else { return step.next }
    if failed.failureClass == .order {
      throw Problem(
        .rebuild(.underWay), "another session moved the rebuild's position: \(failed.failure.message)",
        hint: "Watch that one.")
    }
    if case .rebuild(_, _, _, _, let originals) = target, !originals.isEmpty,
      failed.failure.code == .sqlState(SQLState.diskFull.code)
    {
      throw Problem(noSpace: failed.failure)
    }
    if step.isNarrowing {
      // At once, so also while the live shard waits.
      context.observer.observe(.pageNarrowed(context.name, failure: failed.failure, width: rule.width.width))
      return step.next
    }
    switch step.next {
    case .stop, .stopAll: break
    case .awaitDatabase(let delay), .wait(let delay), .pause(let delay), .pauseAll(let delay):
      if step.isSearch { return step.next }
      guard isPatient else { throw Faltered(failure: failed.failure) }
      context.observer.observe(
        .rebuildRetrying(context.name, failure: failed.failure, retryIn: delay, attempt: rule.attempt))
      await tell("\(failed.failure)")
      return step.next
    case .readPosition, .awaitMark, .apply, .isolate, .halt: return step.next
    }
    if failed.failure.code == .raised(.strayStatement) {
      throw Problem(.rebuild(.notRedirected), failed.failure.message, hint: failed.failure.hint)
    }
    if failed.failure.code == .raised(.compacted) {
      let hint = failed.failure.hint.map { " \($0)" } ?? ""
      throw Problem(
        .rebuild(.fewerRows), failed.failure.message,
        hint: "If the rows may go without these events, repeat the command with --fewer-rows.\(hint)")
    }
    let event = failed.failure.sequence.map { "event \($0): " } ?? ""
    throw Problem(
      .rebuild(.pageFailed), "\(event)\(failed.failure)",
      hint: await remedy(for: failed) ?? failed.failure.hint ?? "Fix the cause, then run `tidemark rebuild` again.")
  }

  /// Nil if no event is at fault.
  private func remedy(for failed: PageFailure) async -> String? {
    guard [.event, .unknownEvent].contains(failed.failureClass), failed.failure.code != .raised(.compacted) else {
      return nil
    }
    let program = plugin == nil ? "statement" : "plugin"
    let skip =
      await context.policy().decides(on: failed.facts(projection: context.definition.name)).map {
        "set rebuild_errors.\($0.rawValue) = true to skip such events"
      } ?? "change the [[on_error]] rule that stops at it"
    return
      "Fix the \(program) or the event, or \(skip); then run `tidemark rebuild` again to continue from here."
  }

  /// Writes the failure to the row, for operators who watch. If the database is unreachable, they already know.
  private func tell(_ trouble: String?) async {
    guard
      (try? await pool.withSession(for: key, { [rebuild] in try await RebuildTable().trouble(rebuild, trouble, $0) }))
        != nil
    else { return }
    isTroubled = trouble != nil
  }
}
