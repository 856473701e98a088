import Books
import ReadModels
import EventStore
package import Postgres
import Rules
import Telemetry

/// Runs the rebuild that `tidemark.rebuild` has for one shard, from its position to its end: performs the rule ``Rebuild``.
///
/// It can be interrupted at any point. One transaction makes the new tables, each page moves its worker's own position, and one transaction
/// makes the exchange; so the next run finds a consistent state, and the live shard is not affected.
package struct RebuildRunner: Sendable {
  let context: ShardContext
  let options: ConnectionOptions
  let workMemory: String?
  /// Makes the live shard wait, for rebuilds that move its position and for plugins; nil if no node runs the shard.
  private let requests: RequestBoard?
  let leaders: ForeignLeaders

  /// - Parameters:
  ///   - context: has the failure policy for rebuilds.
  ///   - sharesLock: whether one leader's lock covers all shards of the database.
  package init(
    _ context: ShardContext, options: ConnectionOptions, workMemory: String?, requests: RequestBoard? = nil,
    sharesLock: Bool = false
  ) {
    self.context = context
    self.options = options
    self.workMemory = workMemory
    self.requests = requests
    leaders = ForeignLeaders(context.shape, shareOneLock: sharesLock)
  }

  var definition: ProjectionDefinition { context.definition }
  var shape: StoreShape { context.shape }
  var node: String { context.node }
  var observer: any Observer { context.observer }
  var shard: String { "\(definition.shard)" }

  /// Runs the body while the live shard waits.
  func holding<T: Sendable>(_ body: () async throws -> T) async throws -> T {
    try await watched({ [self] lasted in
      observer.observe(
        .rebuildWaiting(definition.shard, reason: "the shard has been finishing its page for \(lasted.brief)"))
    }) { [requests, definition] in try await requests?.hold(definition.shard) }
    do {
      let value = try await body()
      await requests?.release(definition.shard)
      return value
    } catch {
      await requests?.release(definition.shard)
      throw error
    }
  }

  private var table: RebuildTable { RebuildTable() }

  /// How often to check whether an operator aborts the rebuild.
  static let lookout = Duration.milliseconds(300)

  /// Returns when the rebuild has ended; the row has its outcome.
  ///
  /// - Throws: ``Problem`` if it cannot continue, which is also written to the row; `CancellationError`, after which it can continue.
  package func run() async throws {
    var reattempt = Reattempt()
    var falters = Backoff()
    while true {
      do {
        let session = try await Session.connect(options, threadName: "rebuild")
        return try await session.closing { session in
          try await ShardSessions.prepare(session, workMemory: workMemory)
          try await session.script(SessionBounds.unlimited(session))
          try await takeLock(session)
          reattempt.reset()
          try await work(session)
        }
      } catch let error as PostgresError where error.isCancelled {
        throw CancellationError()
      } catch let faltered as Faltered {
        let delay = falters.next()
        observer.observe(
          .rebuildRetrying(definition.shard, failure: faltered.failure, retryIn: delay, attempt: falters.attempt))
        try await Task.sleep(for: delay)
      } catch let error as PostgresError where error.isConnectionLoss {
        let delay = reattempt.next(after: Problem(error))
        observer.observe(.databaseUnreachable(where: options.redacted, failure: Problem(error), retryIn: delay))
        try await Task.sleep(for: delay)
      }
    }
  }

  /// The server lacks something now, and the rebuild continues when it has it again. A cancelled statement is an operator's word instead:
  /// these sessions have no timeout.
  private struct Faltered: Error {
    var failure: Problem

    init?(_ error: PostgresError) {
      guard error.mayPass, error.sqlState != .queryCanceled else { return nil }
      failure = Problem(error)
    }
  }

  /// What keeps the new tables from being removed is in the row, where the verb that waits for the end finds it.
  private func removeAborted(_ row: RebuildTable.Row, _ session: Session) async throws {
    do {
      try await ShadowTables.remove(row, as: .aborted, session)
    } catch {
      guard let error = error as? PostgresError, session.isOpen, let faltered = Faltered(error) else { throw error }
      try await table.trouble(row.id, "\(faltered.failure)", session)
      throw faltered
    }
  }

  /// Waits for another session that runs this rebuild; after that one ends, this one continues or finds the rebuild finished.
  private func takeLock(_ session: Session) async throws {
    try await watched({ [self] lasted in
      observer.observe(
        .rebuildWaiting(
          definition.shard, reason: "another session has been working on this rebuild for \(lasted.brief)"))
    }) { [shard] in
      while try await !RebuildLock.take(shard, session) { try await Task.sleep(for: .milliseconds(100)) }
    }
  }

  private func work(_ session: Session) async throws {
    guard let row = try await table.read(shard, session) else { return }
    do {
      if row.isAborting { throw Problem(.rebuild(.aborted), "ended by an operator") }
      guard row.state.isOpen else { return }
      observer.observe(.rebuildStarted(definition.shard, position: row.position, resumed: row.isHalfDone))
      guard definition.fingerprint.isOfRebuild(row.fingerprint) else {
        throw Problem(
          .rebuild(.otherDefinition),
          "\(node) runs \(shard) with another definition than the one in this rebuild's request",
          hint: "Reload the service so that it uses the definition in the file, then run `tidemark rebuild` again.")
      }
      let kind = try RebuildFilter.check(row.request, definition)
      try await settlePosition(of: row, session)
      try await refuseMissingEvents(row, session)
      try await table.takeUp(row.id, node: node, session)
      try await unlessAborted(row, session) {
        switch (kind, row.request.way) {
        case (.replay, _): try await ReplayRebuild(runner: self).run(row)
        case (.tables, .inPlace): try await InPlaceRebuild(runner: self).run(row)
        case (.tables, _): try await unlessFull { try await besides(row) }
        }
      }
    } catch let problem as Problem where problem.code == .rebuild(.aborted) {
      // It may have ended at the same moment.
      guard try await table.read(shard, session).map({ $0.isAborting || $0.state.isOpen }) ?? false else { return }
      try await removeAborted(row, session)
      observer.observe(.rebuildAborted(definition.shard))
    } catch let problem as Problem where problem.code == .rebuild(.noSpace) {
      if await !makeRoom(row, because: problem, session) {
        try await table.fail(
          row.id, error: "\(problem)",
          hint: "Its new tables could not be removed yet: run `tidemark rebuild \(definition.name) --abort`.", session)
      }
      observer.observe(.rebuildFailed(definition.shard, failure: problem))
      throw problem
    } catch let problem as Problem where problem.isOfRebuild {
      if problem.code != .rebuild(.underWay) {
        try await table.fail(row.id, error: "\(problem)", hint: problem.hint, session)
      }
      observer.observe(.rebuildFailed(definition.shard, failure: problem))
      throw problem
    } catch let error as PostgresError where !error.isConnectionLoss && !error.isCancelled {
      let problem = Problem(error)
      if session.isOpen, let faltered = Faltered(error) {
        try await table.trouble(row.id, "\(problem)", session)
        throw faltered
      }
      if session.isOpen {
        try await table.fail(row.id, error: "\(problem)", hint: problem.hint ?? problem.detail, session)
      }
      observer.observe(.rebuildFailed(definition.shard, failure: problem))
      throw error
    }
  }

  /// Runs the body until an operator aborts the rebuild. `session` holds the lock, and checks for that.
  private func unlessAborted(
    _ row: RebuildTable.Row, _ session: Session, _ body: @escaping @Sendable () async throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask {
        try await body()
        return true
      }
      group.addTask { [table] in
        while true {
          try await Task.sleep(for: Self.lookout)
          if try await table.isAborting(row.id, session) {
            // The body removes the row's request when it ends, so check again.
            guard try await table.read(row.shard, session).map({ $0.id == row.id && $0.isAborting }) ?? false else {
              throw Problem.begunAnew
            }
            throw Problem(.rebuild(.aborted), "ended by an operator")
          }
        }
      }
      defer { group.cancelAll() }
      _ = try await group.next()
    }
  }

  /// The position at which a rebuild begins: where the projection itself began.
  func firstPosition(_ session: Session) async throws -> Int64 {
    let positions = Positions(shape)
    guard let live = try await positions.read(shard, session) else { throw Problem(nothingAppliedBy: shard) }
    let rule = FirstPosition(ofRebuild: definition.start, at: live)
    var command = rule.begin()
    while true {
      switch command {
      case .begin(let position):
        return max(position, min(live, try await positions.floor(of: definition.name, session)))
      case .find(let time): command = rule.found(try await positions.before(time: time, session))
      case .recall: command = rule.recalled(try await positions.first(shard, session))
      case .refuse:
        throw Problem(
          .rebuild(.nothingApplied),
          "the position at which \(shard) started was not recorded, so a rebuild does not know where to begin",
          hint: "Set `start` to the sequence after which a rebuild must begin, or to \"beginning\".")
      case .readMark, .awaitRest: preconditionFailure("a rebuild begins at or below its live shard")
      }
    }
  }

  /// The events that the shard may have applied and a rebuild does not get.
  func lostEvents(upTo position: Int64, _ session: Session) async throws -> LostEvents {
    try await LostEvents.read(
      shape, after: try await firstPosition(session), upTo: position, types: definition.takes,
      archived: definition.archived, session)
  }

  /// Whether the store still has the events that the rebuild needs. Rows with a snapshot become dead letters after a yes.
  private func refuseMissingEvents(_ row: RebuildTable.Row, _ session: Session) async throws {
    guard row.request.exchanges, !row.request.allowsFewer else { return }
    // What is emptied must be filled again, and what was handed over stays.
    if row.isHalfDone, row.schema == nil { return }
    let positions = Positions(shape)
    // The rows of an era that is over go anyway.
    if case .stale = try await positions.look(shard, session) { return }
    guard let live = try await positions.read(shard, session) else { return }
    let missing = try await MissingEvents.read(
      shape, for: definition, after: try await firstPosition(session), upTo: row.request.upTo ?? live,
      streams: row.request.streams, tenants: row.request.tenants, session)
    guard missing.isNone else { throw Problem(missing, in: definition) }
  }

  /// For the pages of a rebuild that an operator has allowed to go without events: rows in place of compacted events become letters.
  func pageContext(_ row: RebuildTable.Row) -> ShardContext {
    guard row.request.allowsFewer || !row.request.exchanges else { return context }
    var context = context
    let policy = context.policy
    context.policy = {
      var policy = await policy()
      policy.rules.insert(FailureRule(sqlStates: [RaisedCode.compacted.rawValue], actions: [.skip]), at: 0)
      return policy
    }
    return context
  }

  /// Sessions for the pages of a rebuild.
  ///
  /// Their waits for locks have a bound, since the live shard waits for the last of these pages: a statement of a node that is frozen may
  /// hold a lock for as long as it runs.
  func pool(limit: Int = 1) -> SessionPool {
    SessionPool(
      options, limit: limit, name: "rebuild",
      prepare: { [workMemory] in
        try await ShardSessions.prepare($0, workMemory: workMemory)
        try await $0.script(SessionBounds.lockTimeout(SessionBounds.silence))
      })
  }

  // MARK: New tables beside the old

  private func besides(_ row: RebuildTable.Row) async throws {
    let session = try await Session.connect(options, threadName: "rebuild")
    try await session.closing { session in
      try await ShardSessions.prepare(session, workMemory: workMemory)
      try await session.script(SessionBounds.unlimited(session))
      try await besides(row, session)
    }
  }

  private func besides(_ row: RebuildTable.Row, _ session: Session) async throws {
    let originals = try await OriginalTables.readWithin(definition.tables, of: definition.name, session)
    let filter = try RebuildFilter.check(row.request, definition, originals)
    let choice = try ExchangeChoice.choose(
      row.request.way, isPartial: row.request.isPartial, originals.obstacles)
    let shadows = ShadowTables(shape, shard: shard, originals: originals)
    var row = row
    if row.schema != nil, try await shadows.wereLost(session) {
      observer.observe(
        .rebuildRetrying(
          definition.shard,
          failure: Problem("the server crashed and emptied the new tables; the rebuild starts over"),
          retryIn: .zero, attempt: 1))
      row.schema = nil
    }
    if row.schema != nil, !originals.fit(row.shape, for: choice.way) {
      throw Problem(
        .rebuild(.tablesChanged), "the tables of \(definition.name) were changed since the rebuild began",
        hint: "Run `tidemark rebuild \(definition.name) --restart`.")
    }
    if row.schema == nil {
      let strays = try await RedirectionCheck(shape: shape).strays(definition, options)
      if let stray = strays.first {
        throw Problem(
          .rebuild(.notRedirected), strays.map(\.message).joined(separator: "; "), hint: stray.hint ?? strayHint)
      }
      // Of some rows nobody knows the size.
      if !row.request.isPartial { try await originals.space(session).check(of: definition.name) }
    }
    let schema = ShadowTables.schema(of: shard)
    let begun = row
    let target = { @Sendable number in
      PageTarget.rebuild(id: begun.id, worker: number, shard: shard, schema: schema, originals: originals.oids)
    }
    let pool = pool(limit: row.request.workers)
    try await pool.closing { pool in
      // A plugin has one worker.
      try await withWorker(begun, target(0), pool) { first in
        let others = (1..<max(1, begun.request.workers)).map { worker(begun, target($0), pool) }
        try await perform(begun, choice, shadows, [first] + others, filter, session)
      }
    }
  }

  private func perform(
    _ row: RebuildTable.Row, _ choice: ExchangeChoice, _ shadows: ShadowTables, _ workers: [RebuildWorker],
    _ filter: RowFilter, _ session: Session
  ) async throws {
    var row = row
    var rule = Rebuild(
      choice: choice, mayCopy: row.request.way == .auto, upTo: row.request.upTo,
      near: definition.plugin == nil ? Rebuild.nearForStatements : Rebuild.nearForPlugin)
    var command = rule.begin(isPrepared: row.schema != nil)
    var isAnalyzed = false
    var falters = 0
    var comparison: String?
    var seen: Continuity?
    // One that ends at an earlier event lacks the rows of later ones, which the live shard then applies again.
    // The rows of an era that is over go anyway.
    if case .stale = try await Positions(shape).look(shard, session) { row.request.allowsFewer = true }
    var isCounted = row.request.allowsFewer || row.request.upTo != nil || !row.request.exchanges
    let closing = RebuildClosing(runner: self, shadows: shadows, filter: filter)
    while command != .finish {
      try Task.checkCancellation()
      switch command {
      case .prepare:
        let first = try await firstPosition(session)
        if let upTo = row.request.upTo, upTo < first {
          throw Problem(
            .rebuild(.nothingApplied), "\(shard) begins after \(first), and cannot be rebuilt up to \(upTo)",
            hint: "Use a sequence from \(first) on, or omit --to.")
        }
        // Before anything is made: what was begun with these options could not go on with others.
        try refuseBeyond(try await live(&seen, session), row)
        try await shadows.make(row, choice, after: first, node: node, session)
        command = .measure
      case .measure:
        let live = try await live(&seen, session)
        try refuseBeyond(live, row)
        let positions = try await table.workers(row.id, session)
        try await table.progress(row.id, target: row.request.upTo ?? live, session)
        command = rule.measured(position: positions.min() ?? 0, live: live)
      case .replay(let target):
        let before = try await table.workers(row.id, session).min() ?? 0
        let began = ContinuousClock.now
        try await replay(workers, to: target)
        command = rule.replayed(target.less(before), took: ContinuousClock.now - began)
      case .close(let choice):
        if !isAnalyzed {
          try await shadows.analyze(session)
          isAnalyzed = true
        }
        let rest = { @Sendable (target: Int64) in try await replay(workers, to: target, isPatient: false) }
        let outcome =
          if row.request.compares && comparison == nil {
            try await closing.compare(row, session, replay: rest)
          } else if !isCounted {
            try await closing.count(row, session, replay: rest)
          } else {
            try await closing.run(row, choice, comparison: comparison, session, replay: rest)
          }
        switch outcome {
        case .counted(let problem):
          if let problem { throw problem }
          isCounted = true
          command = .measure
        case .compared(let found, _) where row.request.exchanges:
          comparison = found
          command = .measure
        case .compared(let found, let position):
          try await table.compared(row.id, position: position, comparison: found, session)
          observer.observe(.rebuildCompared(definition.shard, position: position))
          command = .finish
        case .ended: command = .finish
        case .hindered(let reason):
          observer.observe(.rebuildHindered(definition.shard, reason: reason))
          command = rule.hindered()
        case .faltered(let failure):
          falters += 1
          observer.observe(.rebuildRetrying(definition.shard, failure: failure, retryIn: .zero, attempt: falters))
          command = rule.faltered()
        }
      case .wait(let delay):
        try await Task.sleep(for: delay)
        command = .measure
      case .finish: break
      }
    }
  }

  private func refuseBeyond(_ live: Int64, _ row: RebuildTable.Row) throws {
    guard let upTo = row.request.upTo, upTo > live else { return }
    throw Problem(
      .rebuild(.nothingApplied), "\(shard) is at \(live), and cannot be rebuilt up to \(upTo)",
      hint: "Use a lower sequence, or omit --to.")
  }

  private func replay(_ workers: [RebuildWorker], to target: Int64, isPatient: Bool = true) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for worker in workers { group.addTask { try await worker.replay(to: target, isPatient: isPatient) } }
      for try await _ in group {}
    }
  }
}
