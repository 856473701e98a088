import Books
import Concurrency
import EventStore
import Postgres
import Rules
import Settings
import Telemetry

/// Runs the rule of the high-water mark against the server, and posts every mark it proves.
///
/// It owns one session. When that ends, all its proofs end too: the agent withdraws the mark, and the next session begins with the mark
/// that was last saved.
struct HighWaterAgent: Service {
  /// The store that all agents of this database were prepared for.
  var shape: StoreShape
  var schema: Schema
  var options: ConnectionOptions
  var settings: EventStoreSettings
  var board: MarkBoard
  var pulse: Pulse
  var troubles: TroubleBoard
  var observer: any Observer
  /// Called when the numbers of the store have begun anew, before anything is proven of the new ones.
  var onEra: @Sendable () async -> Void = {}

  /// How often a moving mark is saved.
  static let persistCadence = Duration.seconds(1)
  /// How often to check the identity of the store while there is nothing to prove, and always whether our own objects exist.
  static let identityCadence = Duration.seconds(1)

  /// - Throws: ``StoreChanged`` if all agents of this database must be prepared again.
  func run() async throws {
    var reattempt = Reattempt()
    while !Stop.isDue {
      pulse.beat()
      do {
        try await withConnection { session in try await watch(session) { reattempt.reset() } }
      } catch let error where error is CancellationError || (error as? PostgresError)?.isCancelled == true {
        if !Stop.current.isRequested { throw CancellationError() }
      } catch let change as StoreChanged {
        await board.withdraw()
        throw change
      } catch let error as PostgresError where error.isOfMissingObject {
        // One of our own objects, or one of the store's, was dropped: a new start looks at all of them.
        await board.withdraw()
        observer.observe(.markFailed(failure: Problem(error), retryIn: Self.identityCadence))
        await rest(for: Self.identityCadence)
        throw StoreChanged()
      } catch let problem as Problem where problem.code == .store(.replaced) {
        // No wait: the next session finds out whether the change matters.
        await board.withdraw()
      } catch {
        await board.withdraw()
        let delay = reattempt.next(after: Problem(of: error))
        troubles.isAway(Problem(of: error))
        observer.observe(observation(of: error, retryIn: delay))
        await rest(for: delay)
      }
    }
  }

  private func observation(of error: any Error, retryIn delay: Duration) -> Observation {
    switch error {
    case let problem as Problem where problem.isOfStore: .markRefused(failure: problem)
    case let error as PostgresError where error.isConnectionLoss:
      .databaseUnreachable(where: options.redacted, failure: Problem(error), retryIn: delay)
    default: .markFailed(failure: Problem(of: error), retryIn: delay)
    }
  }

  private func withConnection(_ body: (Session) async throws -> Void) async throws {
    let options = options
    let session = try await stoppable { try await Session.connect(options, threadName: "high-water") }
    try await session.closing(body)
  }

  /// Ticks on one session until it fails or the daemon stops.
  ///
  /// - Parameter onProof: called after each tick.
  private func watch(_ session: Session, onProof: () -> Void) async throws {
    try await SessionBounds.applyUnlimited(to: session)
    // Read again for each session: the database may have been restored meanwhile, and the agent would never see a hold on a sequence
    // with another identifier.
    await session.ask(
      ahead: [HighWaterReads.standby] + StoreShape.questions(schema: settings.schema)
        + StoreFactsLookUp.questions(schema: settings.schema))
    try await HighWaterReads.refuseStandby(session)
    let (store, expected) = (settings, self.shape)
    let (shape, preflight) = try await stoppable {
      let shape = try await StoreShape.read(session, schema: store.schema)
      let preflight = try await Preflight.pass(session, schema: store.schema, accepted: store.accept)
      guard shape.isSame(as: expected), try await PageView.isFound(shape, session) else { throw StoreChanged() }
      return (shape, preflight)
    }
    await session.forgetAnswers()
    for warning in preflight?.warnings ?? [] {
      observer.observe(.storeAtRisk(failure: Problem(warning.message, hint: warning.hint)))
    }
    let reads = HighWaterReads(shape)
    let table = MarkTable(shape)
    if shape.sequenceCache > 1 { observer.observe(.sequenceCached(size: shape.sequenceCache)) }
    let era = try await stoppable { try await EraTable(shape).enter(session) }
    if let begun = era.begun {
      await onEra()
      observer.observe(.eraBegan(begun.number, failure: Problem(eraBegun: begun)))
    }
    let restored = try await table.restore(session)
    observer.observe(.markRestored(restored))
    var ticker = Ticker(
      agent: self, session: session, reads: reads, table: table, objects: SchemaWatch(shape, schema: schema),
      rule: HighWater(
        policy: HighWater.Policy(
          append: settings.append, cached: shape.sequenceCache > 1, gapGrace: settings.gapGrace,
          longHold: settings.onLongHold),
        restoredMark: restored),
      restored: restored, era: era.number)
    var pace = PollPace(from: settings.pollMin, to: settings.pollMax)
    while !Stop.isDue {
      pulse.beat()
      let hasMoved = try await ticker.tick()
      onProof()
      troubles.isBack()
      await rest(
        for: pace.next(hasMoved: hasMoved, isSettled: ticker.rule.isSettled, held: ticker.rule.hold?.lasted))
    }
    _ = try await ticker.persist()
  }
}

/// The event table, its sequence or the view that pages read is no longer the one that the agents of this database were prepared for.
struct StoreChanged: Error {}

/// Performs the rule ``HighWater``, tick after tick, on one session.
private struct Ticker {
  let agent: HighWaterAgent
  let session: Session
  let reads: HighWaterReads
  let table: MarkTable
  let objects: SchemaWatch
  var rule: HighWater
  /// The mark that was last saved.
  var restored: Int64?
  let era: Int
  private let eras: EraTable

  /// A mark that moves after a rest is saved at once: what becomes of the store is judged by what is on record.
  private var persistedAt = ContinuousClock.now - HighWaterAgent.persistCadence
  private var identityLookedUpAt = ContinuousClock.now
  private var objectsLookedUpAt = ContinuousClock.now
  private var reports = HoldReports()

  init(
    agent: HighWaterAgent, session: Session, reads: HighWaterReads, table: MarkTable, objects: SchemaWatch,
    rule: HighWater, restored: Int64?, era: Int
  ) {
    self.agent = agent
    self.session = session
    self.reads = reads
    self.table = table
    self.objects = objects
    self.rule = rule
    self.restored = restored
    self.era = era
    eras = EraTable(reads.shape)
  }

  /// Returns whether the mark moved.
  mutating func tick() async throws -> Bool {
    let before = rule.mark
    var provenAt = ContinuousClock.now
    let numbers = try await look { try await $0.numbers($1) }
    if rule.needsHolders(handedOut: numbers.handedOut, highestVisible: numbers.highestVisible) {
      provenAt = .now
      let (numbers, holders, seen) = try await look { [eras] in try await $0.numbersAndHolders($1, era: eras.statement)
      }
      guard try eras.holds(era, seen) else { throw Problem.otherEra }
      try await perform(rule.read(HighWater.Reading(numbers, holders)))
      try await reportHold()
      identityLookedUpAt = .now
    } else if ContinuousClock.now - identityLookedUpAt > HighWaterAgent.identityCadence {
      try await look { try await $0.refuseChanged($1) }
      let seen = try await look { [eras] _, session in try await session.prepared(eras.statement) }
      guard try eras.holds(era, seen) else { throw Problem.otherEra }
      identityLookedUpAt = .now
    }
    if ContinuousClock.now - objectsLookedUpAt > HighWaterAgent.identityCadence {
      guard try await objects.isWhole(session) else { throw StoreChanged() }
      objectsLookedUpAt = .now
    }
    await agent.board.post(MarkBoard.Mark(sequence: rule.mark, provenAt: provenAt, isAtTip: rule.isSettled))
    if rule.mark != before { agent.observer.observe(.markMoved(from: before, to: rule.mark)) }
    try await keepBooks()
    return rule.mark != before
  }

  /// Looks, and leaves off when the daemon stops: a session that holds a lock on the event table must not hold up the end.
  private func look<T: Sendable>(
    _ body: @escaping @Sendable (HighWaterReads, Session) async throws -> T
  ) async throws -> T {
    let (reads, session) = (reads, session)
    return try await stoppable { try await body(reads, session) }
  }

  private mutating func perform(_ command: HighWater.Command) async throws {
    switch command {
    case .done: break
    case .refuse(.sequenceBelowMark(let handedOut, let mark)):
      throw Problem(
        .store(.sequenceReset),
        "the sequence is at \(handedOut), below the high-water mark \(mark) that was already proven",
        hint:
          "The sequence was set back while its events are there. See RECOVERY in tidemark(7).")
    case .lookUpGaps(let from, let limit, let events):
      let (gaps, end) = try await look { try await $0.gaps(from: from, upTo: limit, events: events, $1) }
      let advance = rule.lookedUp(gaps: gaps, from: from, to: end)
      try await record(advance.passed)
    }
  }

  /// Called before the mark is posted: no page may read beyond a gap that is not recorded.
  private func record(_ passed: [HighWater.PassedGap]) async throws {
    for (reason, gaps) in Dictionary(grouping: passed, by: \.reason) {
      let holders =
        switch reason {
        case .grace: [String]()
        case .skippedLongHold: try await reads.describe(rule.steppedOver, session)
        }
      let heldBy = holders.isEmpty ? nil : holders.joined(separator: "; ")
      // With several nodes, the first to record a gap reports it.
      let told = try await table.record(gaps.map(\.range), reason: reason.rawValue, heldBy: heldBy, session)
      if !told.isEmpty { agent.observer.observe(.gapsPassed(told, reason: reason)) }
    }
  }

  /// Reports a long hold and the transactions that cause it.
  private mutating func reportHold() async throws {
    switch reports.report(rule.hold) {
    case nil: break
    case .released(let lasted): agent.observer.observe(.markReleased(at: rule.mark, after: lasted))
    case .held:
      guard let hold = rule.hold else { return }
      agent.observer.observe(.markHeld(at: rule.mark, for: hold.lasted, by: try await keepers(of: hold)))
    }
  }

  private func keepers(of hold: HighWater.Hold) async throws -> [String] {
    switch hold.keptBy {
    case .transactions(let transactions): try await reads.describe(transactions, session)
    case .grace: ["gap_grace, for numbers reserved in another transaction"]
    case .sequenceBehind(let visible):
      ["the sequence itself: it is at \(rule.mark), but event \(visible) is visible; set it with setval"]
    }
  }

  private mutating func keepBooks() async throws {
    let now = ContinuousClock.now
    if now - persistedAt >= HighWaterAgent.persistCadence {
      persistedAt = now
      try await persist()
    }
  }

  mutating func persist() async throws {
    guard restored != rule.mark else { return }
    switch try await table.persist(rule.mark, era: era, session) {
    case .otherEra: throw Problem.otherEra
    case .done:
      restored = rule.mark
      agent.troubles.worked(.mark)
    case .locked: agent.troubles.failed(.mark, Problem("another session holds a lock on the row of the mark"))
    case .readOnly:
      agent.troubles.failed(
        .mark, Problem("the server accepts no writes", hint: ServerHint.of(sqlState: SQLState.readOnlyTransaction.code))
      )
    }
  }
}

extension Problem {
  fileprivate static var otherEra: Problem {
    Problem(
      .store(.replaced), "the numbers of the event store are others than those of the mark",
      hint: "The daemon looks the store up again on its own.")
  }

  fileprivate init(eraBegun begun: EraTable.Begun) {
    let letters =
      begun.letters == 0 ? "" : "; \(counted(begun.letters, "dead letter")) of it went to tidemark.former_letter"
    self.init(
      .store(.sequenceReset), "the numbers of the event store began anew: \(begun.reason)\(letters)",
      hint:
        "A shard whose tables have no rows begins with the first event. The others wait, since their rows are of events that are gone: `tidemark status` names them and what to do."
    )
  }
}

extension HighWater.Reading {
  fileprivate init(_ numbers: HighWaterReads.Numbers, _ holders: [HighWaterReads.Holder]) {
    self.init(
      serverTime: numbers.serverTime, handedOut: numbers.handedOut, highestVisible: numbers.highestVisible,
      holders: holders.map {
        HighWater.Holder(
          virtualTransaction: $0.virtualTransaction, isPrepared: $0.processID == nil, onSequence: $0.onSequence,
          onEvents: $0.onEvents)
      })
  }
}
