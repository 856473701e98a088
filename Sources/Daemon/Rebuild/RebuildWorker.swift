import Books
import EventStore
import Postgres
import Rules
import Telemetry

/// Applies pages of one rebuild, or of one worker's share of its streams, up to where it is told; performs what the rule ``Shard``
/// decides, as ``ShardAgent`` does for a live shard.
///
/// It keeps what it has learned of page widths from one round to the next.
actor RebuildWorker {
  private let definition: ProjectionDefinition
  private let shape: StoreShape
  private let rebuild: Int64
  private let book: PageBook
  private let pool: SessionPool
  private let policy: @Sendable () async -> FailurePolicy
  private let node: String
  private let observer: any Observer
  /// Of a projection that is a plugin.
  private let plugin: RebuildPlugin?
  private var rule: Shard
  /// The row says what the rebuild is held up by.
  private var isTroubled = false

  /// A page failed that would be tried again, and somebody waits who should not have to.
  struct Faltered: Error { var failure: Problem }

  init(
    _ definition: ProjectionDefinition, shape: StoreShape, rebuild: Int64, book: PageBook, pool: SessionPool,
    policy: @escaping @Sendable () async -> FailurePolicy, node: String, observer: any Observer,
    plugin: RebuildPlugin? = nil
  ) {
    self.definition = definition
    self.shape = shape
    self.rebuild = rebuild
    self.book = book
    self.pool = pool
    self.policy = policy
    self.node = node
    self.observer = observer
    self.plugin = plugin
    rule = Shard(name: definition.shard, pages: plugin == nil ? .rebuild : .live)
  }

  private var key: String { "\(definition.shard)" }

  /// Returns when the position is at `target`.
  ///
  /// - Parameter isPatient: waits before a page that failed is tried again.
  /// - Throws: ``Problem`` where a page fails for good, or somebody else moves the position; ``Faltered`` where one would be tried
  ///   again and there is no patience for that.
  func replay(to target: Int64, isPatient: Bool = true) async throws {
    await plugin?.pages.go(to: target)
    var command = rule.startAfresh()
    while true {
      try Task.checkCancellation()
      switch command {
      case .readPosition:
        command = try await attempt(isPatient) {
          let position = try await self.pool.withSession(for: self.key) { try await self.position($0) }
          if position < target { try await self.plugin?.projector.start(at: position) }
          _ = self.rule.positionRead(position)
          return self.rule.markMoved(to: target)
        }
      case .awaitMark: return
      case .apply(let page): command = try await attempt(isPatient) { try await self.apply(page, .whole) }
      case .isolate(let page, let chunk):
        command = try await attempt(isPatient) { try await self.apply(page, .isolating(chunk: chunk)) }
      case .awaitDatabase(let delay), .wait(let delay), .pause(let delay), .pauseAll(let delay):
        if delay > .zero { try await Task.sleep(for: delay) }
        command = .readPosition
      case .stop, .stopAll: throw CancellationError()
      }
    }
  }

  private func position(_ session: Session) async throws -> Int64 {
    switch book {
    case .live(let shard): return try await Positions(shape).read(shard, session) ?? 0
    case .rebuild(let id, let worker, _, _, _):
      guard let position = try await RebuildTable().worker(id, worker, session) else {
        throw Problem.begunAnew
      }
      return position
    }
  }

  private func apply(_ page: Page, _ manner: Projector.Manner) async throws -> Shard.Command {
    let (policy, chains) = (await policy(), rule.passingChains)
    let began = ContinuousClock.now
    let applied: Projector.Applied
    if let plugin {
      let outcome = try await plugin.projector.apply(page, manner, policy: policy, chains: chains)
      guard case .applied(let done) = outcome else { return .readPosition }
      applied = done
    } else {
      let projector = Projector(definition, shape: shape, policy: policy, node: node, chains: chains, book: book)
      applied = try await pool.withSession(for: key) { try await projector.apply(page, manner, on: $0) }
    }
    let took = ContinuousClock.now - began
    if isTroubled { await tell(nil) }
    observer.observe(applied.letters, of: definition.shard)
    return manner == .whole
      ? rule.pageApplied(applied.page, took: took)
      : rule.pageIsolated(applied.page, events: applied.events ?? 0, poison: applied.poison)
  }

  private func attempt(
    _ isPatient: Bool, _ step: () async throws -> Shard.Command
  ) async throws -> Shard.Command {
    let failed: PageFailure
    do {
      return try await step()
    } catch {
      failed = try PageFailure(of: error)
    }
    if failed.failureClass == .order {
      throw Problem(
        .rebuild(.underWay), "somebody else moved the rebuild's position: \(failed.failure.message)",
        hint: "Watch that one.")
    }
    let actions = await policy().actions(for: failed.facts(projection: definition.name))
    let command = rule.failed(failed.failureClass, "\(failed.failure)", actions: actions)
    switch command {
    case .stop, .stopAll: break
    case .awaitDatabase(let delay), .wait(let delay), .pause(let delay), .pauseAll(let delay):
      // To look for the event that fails takes no time, and is no news.
      if case .wait(.zero) = command, actions.first?.passesEventOver ?? false { return command }
      guard isPatient else { throw Faltered(failure: failed.failure) }
      observer.observe(
        .rebuildRetrying(definition.shard, failure: failed.failure, retryIn: delay, attempt: rule.attempt))
      await tell("\(failed.failure)")
      return command
    case .readPosition, .awaitMark, .apply, .isolate: return command
    }
    if failed.failure.code == .raised(.strayStatement) {
      throw Problem(.rebuild(.notRedirected), failed.failure.message, hint: failed.failure.hint)
    }
    let event = failed.failure.sequence.map { "event \($0): " } ?? ""
    throw Problem(
      .rebuild(.pageFailed), "\(event)\(failed.failure)",
      hint: failed.failureClass == .event || failed.failureClass == .unknownEvent
        ? "Mend the \(plugin == nil ? "statement" : "plugin") or the event, or let [rebuild_errors] pass such events over; then say `tidemark rebuild` again to go on from here."
        : failed.failure.hint ?? "Mend it, then say `tidemark rebuild` again.")
  }

  /// For whoever watches; where the database is away, they know that already.
  private func tell(_ trouble: String?) async {
    guard
      (try? await pool.withSession(for: key, { [rebuild] in try await RebuildTable().trouble(rebuild, trouble, $0) }))
        != nil
    else { return }
    isTroubled = trouble != nil
  }
}
