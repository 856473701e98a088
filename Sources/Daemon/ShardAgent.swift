package import EventStore
package import Postgres
package import Projection
import ServiceLifecycle
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
  package var observer: any Observer

  private var name: ShardName { definition.shard }
  private var key: String { "\(definition.shard)" }

  package func run() async throws {
    var rule = Shard(name: name)
    // Of the mark when the position was last read.
    var life = 0
    var command = Shard.Command.readPosition
    while !Task.isShuttingDownGracefully {
      try Task.checkCancellation()
      await health.set(name, condition: rule.condition.word, reason: rule.condition.reason, position: rule.position)
      let before = rule.condition
      do {
        command = try await perform(command, &rule, &life)
      } catch let error as CancellationError {
        // A wait ends at once when the daemon stops; a page only when its time is over.
        if !Task.isShuttingDownGracefully { throw error }
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
    _ command: Shard.Command, _ rule: inout Shard, _ life: inout Int
  ) async throws -> Shard.Command {
    switch command {
    case .readPosition:
      life = await marks.life
      let isFirst = rule.position == nil && rule.attempt == 0
      return try await attempt(&rule) { rule in
        let position = try await start().position(pool: pool, marks: marks)
        if isFirst { observer.observe(.shardStarted(name, position: position)) }
        return rule.positionRead(position)
      }
    case .awaitMark(let position):
      let since = life
      let mark = try await cancelWhenGracefulShutdown {
        try await marks.mark { $0.sequence > position || $0.life != since }
      }
      let next = rule.markMoved(to: mark.sequence)
      return mark.life == since ? next : .readPosition
    case .apply(let page):
      return try await attempt(&rule) { rule in try await apply(page, &rule) }
    case .awaitDatabase(let delay):
      try await cancelWhenGracefulShutdown { try await Task.sleep(for: delay) }
      // A mark that is proven after now is proof that the database answers.
      let now = ContinuousClock.now
      _ = try await cancelWhenGracefulShutdown { try await marks.mark { $0.provenAt > now } }
      return .readPosition
    case .wait(let delay):
      try await cancelWhenGracefulShutdown { try await Task.sleep(for: delay) }
      return .readPosition
    case .stop:
      // Only the end of the daemon ends this wait.
      try await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(86_400)) }
      return .stop
    }
  }

  private func start() -> ShardStart {
    ShardStart(definition: definition, positions: Positions(shape), key: key, observer: observer)
  }

  private enum Outcome {
    case applied(Projector.Applied)
    /// The page reaches beyond what is proven in this life of the server.
    case beyond(mark: Int64)
  }

  private func apply(_ page: Page, _ rule: inout Shard) async throws -> Shard.Command {
    let projector = Projector(definition, streamIDType: shape.streamIDType)
    let began = ContinuousClock.now
    let outcome: Outcome = try await watched(page) {
      try await pool.withSession(for: key) { session in
        // See MarkBoard: a mark is good only on a session that was open when its proof began.
        let mark = try await cancelWhenGracefulShutdown { try await marks.mark { $0.provenAt >= session.openedAt } }
        guard mark.sequence >= page.ceiling else { return .beyond(mark: mark.sequence) }
        return .applied(try await projector.apply(page, on: session))
      }
    }
    guard case .applied(let applied) = outcome else {
      if case .beyond(let mark) = outcome { _ = rule.markMoved(to: mark) }
      return .readPosition
    }
    let took = ContinuousClock.now - began
    observer.observe(.pageApplied(name, applied.page, took: took))
    return rule.pageApplied(applied.page, took: took)
  }

  /// A page is worth a warning after this long, and again each time it has doubled.
  static let reportPageAfter = Duration.seconds(10)

  /// Runs a page, and says so when it takes long: a shard that waits for a lock must not look like one with nothing to do.
  private func watched<T: Sendable>(_ page: Page, _ work: @escaping @Sendable () async throws -> T) async throws -> T {
    try await withThrowingTaskGroup(of: T?.self) { group in
      group.addTask { try await work() }
      group.addTask {
        var lasted = Self.reportPageAfter
        while true {
          try await Task.sleep(for: lasted == Self.reportPageAfter ? lasted : lasted / 2)
          observer.observe(.pageSlow(name, page, for: lasted))
          await health.set(
            name, condition: "slow",
            reason: "the page \(page.floor + 1) to \(page.ceiling) has been under way for \(lasted.brief)",
            position: page.floor)
          lasted *= 2
        }
      }
      defer { group.cancelAll() }
      while true {
        if let value = try await group.next(), let value { return value }
      }
    }
  }

  /// Runs one step; a failure becomes the rule's business, and is told to the operator.
  private func attempt(
    _ rule: inout Shard, _ step: (inout Shard) async throws -> Shard.Command
  ) async throws -> Shard.Command {
    let failed: PageFailure
    do {
      return try await step(&rule)
    } catch let error as PageFailure {
      failed = error
    } catch let error as PostgresError where error.isCancelled {
      throw CancellationError()
    } catch let error as PostgresError {
      failed = PageFailure(error)
    }
    let command = rule.failed(failed.failureClass, "\(failed.failure)")
    switch command {
    case .awaitDatabase(let delay):
      observer.observe(.shardRetrying(name, failure: failed.failure, retryIn: delay, attempt: rule.attempt))
    case .wait(let delay) where failed.failureClass == .transient:
      observer.observe(.shardRetrying(name, failure: failed.failure, retryIn: delay, attempt: rule.attempt))
    case .wait(let delay):
      observer.observe(.shardPaused(name, failure: failed.failure, for: delay))
    case .stop:
      observer.observe(.shardStopped(name, failure: failed.failure))
    case .readPosition, .awaitMark, .apply: break
    }
    return command
  }
}
