import PluginHost
import Books
import EventStore
import Plugins
import Postgres
package import Rules
import Telemetry

/// Applies pages of one plugin shard: reads a page, hands it over, and moves the position once the plugin has answered.
///
/// While the plugin has a page, no transaction is open and no session is in use, so a slow plugin blocks nothing else. When the position
/// moves, the projector compares the block with the store: the position by compare-and-swap, the life of the mark, and the events that were
/// left out. If any of them has changed, it commits nothing and reads the page again.
actor PluginProjector: PageApplier {
  private let context: ShardContext
  private let declaration: PluginDefinition
  private let plugin: any Plugin
  private let pages: any PluginPages
  private let target: PageTarget

  private var pace = PluginPace()
  private var suspect = SuspectEvent()
  /// The events that were read and not applied yet; they begin at the position.
  private var rest: EventSlice?

  private var definition: ProjectionDefinition { context.definition }
  private var parks: Bool { definition.onPoison == .parkStream }

  init(
    _ context: ShardContext, _ declaration: PluginDefinition, plugin: any Plugin, pages: any PluginPages,
    target: PageTarget
  ) {
    self.context = context
    self.declaration = declaration
    self.plugin = plugin
    self.pages = pages
    self.target = target
  }

  /// Starts the plugin before its first page, so that one that cannot run is reported at once.
  ///
  /// - Throws: ``PageFailure``.
  func start(at position: Int64) async throws {
    do {
      try await plugin.prepare(position: position)
    } catch let problem as Problem {
      throw PageFailure(problem)
    }
  }

  /// Ends the plugin; the next start runs a new instance.
  func standDown() async { await plugin.standDown() }

  /// - Throws: ``PageFailure``, or `CancellationError`.
  func apply(
    _ page: Page, _ mode: Projector.Mode, policy: FailurePolicy, chains: Set<[FailureAction]>
  ) async throws -> PageOutcome {
    let search = PoisonSearch(context, policy: policy, chains: chains, shard: target.letters)
    do {
      switch try await slice(page) {
      case .beyond(let mark): return .beyond(mark: mark)
      case .block(let block):
        let all = rest ?? EventSlice(block, types: definition.takes)
        rest = nil
        return try await apply(all, mode, search)
      }
    } catch {
      // After any failure the position is read again before the next page.
      rest = nil
      throw try PageFailure(of: error)
    }
  }

  /// The events after the page's floor: the rest of the last block, or a new block.
  private func slice(_ page: Page) async throws -> EventFeed.Reading {
    if let rest, rest.page.floor == page.floor, await rest.block.life == pages.life { return .block(rest.block) }
    rest = nil
    return try await pages.read(page, parks: parks)
  }

  private func apply(
    _ all: EventSlice, _ mode: Projector.Mode, _ search: PoisonSearch
  ) async throws -> PageOutcome {
    if let row = all.compacted(besides: definition.passableCompacted) {
      guard row.sequence == all.page.floor + 1 else {
        return try await apply(all.through(row.sequence - 1), mode, search)
      }
      return try await pass(over: row, of: all, search)
    }
    var slice = all.prefix(pace.limit)
    guard slice.count > 0 else { return try await commit(slice, [], search) }
    if context.shape.mayHaveBinary, let binary = slice.firstWithoutData {
      guard binary != slice.firstSequence else {
        let type = slice.firstType ?? ""
        return try await pass(
          over: PageFailure(.event, Problem(StoreShape.binaryEvent(binary, type: type), sequence: binary)), of: slice,
          search)
      }
      slice = slice.before(binary)
    }
    if let tooLarge = declaration.tooLarge(slice) { return try await pass(over: tooLarge, of: slice, search) }
    // Reads the next block while the plugin works.
    let ceiling = slice.page.ceiling
    async let ahead = ceiling == all.page.ceiling ? readAhead(ceiling) : nil
    while true {
      let answer: PluginAnswer
      do {
        answer = try await handOver(slice)
      } catch let failure as PageFailure {
        guard case .searchingPoison = mode, failure.failureClass == .event, search.mayPass(failure) else {
          throw failure
        }
        return try await pass(over: failure, of: slice, search)
      }
      do {
        let outcome = try await take(answer, slice, search)
        if case .applied(let applied) = outcome {
          pace.committed(slice.count)
          keep(all.after(applied.page.ceiling), try await ahead, applied)
        }
        return outcome
      } catch let failure as PageFailure {
        // A statement of the answer failed. Handing over fewer events finds the event that it belongs to.
        guard case .searchingPoison = mode, search.mayPass(failure), failure.failure.sequence == nil else {
          guard failure.width == .dependent else { throw failure }
          pace.tooMuch(slice.count)
          throw failure.narrowed(from: slice.count)
        }
        guard slice.count > 1 else { return try await pass(over: failure, of: slice, search) }
        slice = slice.prefix(slice.count / 2)
      }
    }
  }

  private func keep(_ left: EventSlice?, _ ahead: EventBlock?, _ applied: Projector.Applied) {
    // A new letter parks its stream, so the events to leave out have changed.
    if parks, applied.poison > 0 { return }
    if let left, left.page.floor < left.page.ceiling {
      rest = left
    } else if let ahead, ahead.page.floor == applied.page.ceiling {
      rest = EventSlice(ahead, types: definition.takes)
    }
  }

  /// The next block, if there are events for it; a failure to read ahead occurs again when the block is needed.
  private func readAhead(_ floor: Int64) async throws -> EventBlock? {
    guard !parks, let end = await pages.end, end > floor else { return nil }
    let ceiling = min(end, floor.plus(PageWidth.Bounds.live.limits.upperBound))
    guard case .block(let block)? = try? await pages.read(Page(floor: floor, ceiling: ceiling), parks: false)
    else { return nil }
    return block
  }

  private func handOver(_ slice: EventSlice) async throws -> PluginAnswer {
    // A plugin that cannot start does not fail on this page.
    try await plugin.prepare(position: slice.page.floor)
    let began = ContinuousClock.now
    do {
      let answer = try await plugin.apply(slice)
      pace.answered(slice.count, took: ContinuousClock.now - began, timeout: declaration.timeout)
      suspect.answered(through: slice.page.ceiling)
      return answer
    } catch let problem as Problem where problem.code == .plugin(.silent) {
      pace.timedOut(slice.count)
      throw failure(problem, on: slice)
    } catch let problem as Problem where problem.mayBeOfEvent && problem != .unread(through: slice.page.ceiling) {
      pace.tooMuch(slice.count)
      throw failure(problem, on: slice)
    }
  }

  /// The plugin exited, spoke nonsense or did not answer in time: the next page has fewer events, and one event alone may be to blame.
  private func failure(_ problem: Problem, on slice: EventSlice) -> PageFailure {
    var failure = PageFailure(problem).narrowed(from: slice.count)
    guard let first = slice.firstSequence else { return failure }
    let isAlone = slice.count == 1
    if isAlone { failure.failure.sequence = first }
    if suspect.failed(on: first...max(first, slice.page.ceiling), isAlone: isAlone, at: .now) {
      failure.failureClass = .event
    }
    return failure
  }

  // MARK: Answers

  private func take(_ answer: PluginAnswer, _ slice: EventSlice, _ search: PoisonSearch) async throws -> PageOutcome {
    switch answer {
    case .applied(_, let statements):
      return try await commit(slice, statements ?? [], search)
    case .failed(let failure):
      let before = slice.before(failure.sequence)
      let failed = PageFailure(failure)
      let isDone = declaration.effects == .external || failure.statements != nil || before.count == 0
      guard isDone else {
        // The answer has no statements for the events before it, so they become a page of their own.
        return try await take(try await handOver(before), before, search)
      }
      let statements = failure.statements ?? []
      do {
        let (letters, ignored) = try search.decide([PoisonSearch.Finding(sequence: failure.sequence, failure: failed)])
        let through = slice.prefix(before.count + 1)
        return try await commit(through, statements, search, letters: letters, ignored: ignored)
      } catch let undecided as PageFailure where before.count > 0 && undecided.failure.sequence == failure.sequence {
        // The policy stops or retries at this event, so the events before it are applied.
        return try await commit(before, statements, search)
      }
    }
  }

  /// Skips the first event of the slice if the policy allows it; otherwise throws its failure.
  private func pass(over failure: PageFailure, of slice: EventSlice, _ search: PoisonSearch) async throws -> PageOutcome
  {
    guard let sequence = slice.firstSequence else { throw failure }
    var failure = failure
    failure.failure.sequence = sequence
    let (letters, ignored) = try search.decide([PoisonSearch.Finding(sequence: sequence, failure: failure)])
    return try await commit(slice.prefix(1), [], search, letters: letters, ignored: ignored)
  }

  /// The same for a row that stands for compacted events, which the plugin may not even take.
  private func pass(over row: CompactedRow, of slice: EventSlice, _ search: PoisonSearch) async throws -> PageOutcome {
    let failure = PageFailure(row.problem(for: definition))
    let (letters, ignored) = try search.decide([PoisonSearch.Finding(sequence: row.sequence, failure: failure)])
    return try await commit(slice.through(row.sequence), [], search, letters: letters, ignored: ignored)
  }

  // MARK: The position

  /// Moves the position, runs the answer's statements and keeps dead letters, in one transaction.
  private func commit(
    _ slice: EventSlice, _ statements: [PluginStatement], _ search: PoisonSearch,
    letters: [DeadLetters.Letter] = [], ignored: [Int64] = []
  ) async throws -> PageOutcome {
    let effects = try PluginEffects.sql(declaration.applicable(statements), in: target)
    let page = slice.page
    let life = slice.block.life
    let begin = pages.areBegun ? [] : begin(slice, search)
    let isEmpty = slice.count == 0 && !pages.areBegun && letters.isEmpty && ignored.isEmpty
    let look = isEmpty ? [Positions(context.shape).nextEvent(after: page.ceiling)] : []
    let end = target.end(
      after: page.floor, maySkip: context.shape.maySkip(definition.archived), ignored: ignored)
    let last = search.keep(letters) + look + end
    let results = try await pages.commit(in: life) { [target] session in
      let path = PagePath(session.operatorPath, target)
      let begin = begin + (effects.isEmpty ? [] : [path.enter])
      let work = begin + effects + (effects.isEmpty ? last : path.outside(last)) + ["COMMIT"]
      let range = begin.count..<begin.count + effects.count
      let stray = StrayStatement(target: target, begin: begin, effects: effects)
      do throws(PostgresError) {
        return try await session.pipeline(work)
      } catch {
        if session.isOpen {
          await session.rollBack()
          if let failure = try await stray.failure(behind: error, session) { throw failure }
        }
        throw PluginEffects.failure(error, statements: range)
      }
    }
    guard let results else { return .changed }
    var applied = Projector.Applied(page: page, events: slice.count, letters: letters, ignored: ignored)
    if isEmpty { applied.nextEvent = try results[begin.count].rows[0].get(0, as: Int64.self) }
    return .applied(applied)
  }

  private func begin(_ slice: EventSlice, _ search: PoisonSearch) -> [SQL] {
    let (page, leftOut) = (slice.page, slice.block.leftOut)
    return ["BEGIN ISOLATION LEVEL READ COMMITTED"]
      // External effects cannot be rolled back with the position.
      + target.begin(
        floor: page.floor, ceiling: page.ceiling, types: definition.takes, archived: definition.archived,
        durable: declaration.effects == .external)
      + (parks ? [search.park] : [])
      + ["SELECT tidemark_internal.same_page(\(page.floor), \(page.ceiling), \(leftOut.passedOver), \(leftOut.parked))"]
  }
}

extension PluginDefinition {
  /// The failure of the first event if it does not fit into a line; nil if it does.
  package func tooLarge(_ slice: EventSlice) -> PageFailure? {
    guard case .exec = program, slice.firstSize > PluginLimits.lineBytes else { return nil }
    var failure = PageFailure(.lineTooLong(bytes: slice.firstSize))
    failure.failureClass = .event
    return failure
  }

  /// The statements of an answer; throws if they would not be applied, since their effect would be lost silently.
  func applicable(_ statements: [PluginStatement]?) throws(Problem) -> [PluginStatement] {
    guard let statements, !statements.isEmpty else { return [] }
    guard effects == .database else {
      throw .badStatement(
        "with effects = \"\(effects.rawValue)\" statements are not applied",
        hint:
          "Set effects = \"\(Effects.database.rawValue)\" in the projection, or have the plugin answer without statements."
      )
    }
    return statements
  }
}

/// Turns the statements of an answer into SQL for the page's transaction.
enum PluginEffects {
  static func sql(_ statements: [PluginStatement], in target: PageTarget? = nil) throws(Problem) -> [SQL] {
    let isRebuild = if case .rebuild? = target { true } else { false }
    var checked: Set<String> = []
    for statement in statements where checked.insert(statement.text).inserted {
      // In a rebuild, what is made beside the new tables is found by its locks.
      let home = isRebuild ? nil : SQLText.objection(toHomeOf: statement.text)
      if let (problem, hint) = SQLText.objection(to: statement.text) ?? home {
        throw .badStatement(problem, hint: hint)
      }
      // A table that is not among the new ones resolves to an old one, and after a DROP no lock shows its name.
      if isRebuild, SQLText.firstKeyword(of: statement.text) == "DROP" {
        throw .badStatement("DROP may remove other tables, which a rebuild must leave alone", hint: strayHint)
      }
    }
    return statements.map { SQL(text: $0.text, binds: $0.values.map { Bind($0) }) }
  }

  /// Names the failed statement of the answer.
  static func failure(_ error: PostgresError, statements: Range<Int>) -> any Error {
    if error.isCancelled { return CancellationError() }
    var failure = PageFailure(error).underPage()
    if let index = error.statementIndex, statements.contains(index) {
      failure.failure.message =
        "statement \(index - statements.lowerBound + 1) of the plugin's answer: \(failure.failure.message)"
    }
    return failure
  }
}
