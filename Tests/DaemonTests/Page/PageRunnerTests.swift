import Books
@testable import Daemon
@testable import EventStore
import Rules
import Synchronization
import Telemetry
import TestSupport
import Testing

/// What performs pages for live shards and rebuilds, against pages that end as a test says.
@Suite struct `A page that is run` {
  private final class Scripted: PageApplier {
    private let outcomes: Mutex<[Result<PageOutcome, any Error>]>
    private let modes = Mutex<[Projector.Mode]>([])

    init(_ outcomes: [Result<PageOutcome, any Error>]) { self.outcomes = Mutex(outcomes) }

    var asked: [Projector.Mode] { modes.withLock { $0 } }

    func apply(
      _ page: Page, _ mode: Projector.Mode, policy: FailurePolicy, chains: Set<[FailureAction]>
    ) async throws -> PageOutcome {
      modes.withLock { $0.append(mode) }
      return try outcomes.withLock { $0.removeFirst() }.get()
    }
  }

  private static let page = Page(floor: 0, ceiling: 7)
  private let observed = ObservationRecorder()

  private func runner(_ outcomes: [Result<PageOutcome, any Error>]) -> (PageRunner, Scripted) {
    let shape = StoreShape(
      schema: "public", streamIDType: "uuid", eventColumns: [], streamColumns: [], sequenceCache: 1,
      hasProgression: true, hasHighWaterSkips: false, sequenceOID: 1, eventsOID: 2, databaseOID: 3)
    let context = ShardContext(
      ProjectionDefinition(name: "Trip", effect: .batch([])), shape: shape, policy: { FailurePolicy() }, node: "test",
      observer: observed)
    let pages = Scripted(outcomes)
    return (PageRunner(context: context, applier: pages), pages)
  }

  private func shard() -> Shard {
    var shard = Shard(name: ShardName(projection: "Trip"))
    _ = shard.markMoved(to: 7)
    _ = shard.positionRead(0)
    return shard
  }

  @Test func `and applied moves the rule on, to where the page ended`() async throws {
    let (runner, _) = runner([.success(.applied(Projector.Applied(page: Page(floor: 0, ceiling: 4), events: 4)))])
    var rule = shard()
    let step = try await runner.apply(Self.page, .whole, &rule)
    #expect(step.next == .apply(Page(floor: 4, ceiling: 7)) && rule.position == 4)
    #expect(step.applied?.page == Page(floor: 0, ceiling: 4) && step.failed == nil)
  }

  @Test func `beyond what is proven, or of an earlier life, is no failure: the position is read again`() async throws {
    let (runner, _) = runner([.success(.beyond(mark: 3)), .success(.changed)])
    var rule = shard()
    for mark: Int64 in [3, 3] {
      let step = try await runner.apply(Self.page, .whole, &rule)
      #expect(step.next == .readPosition && step.applied == nil && step.failed == nil)
      #expect(rule.positionRead(0) == .apply(Page(floor: 0, ceiling: mark)))
    }
  }

  @Test func `and fails on an event is looked through without a word, and says which became letters`() async throws {
    let letter = DeadLetters.Letter(sequence: 5, failureClass: "event", sqlState: "22P02", message: "bad", detail: nil)
    let (runner, pages) = runner([
      .failure(PageFailure(.event, Problem("bad", code: .sqlState("22P02")))),
      .success(.applied(Projector.Applied(page: Self.page, events: 7, letters: [letter]))),
    ])
    var rule = shard()
    let failed = try await runner.apply(Self.page, .whole, &rule)
    #expect(failed.next == .wait(.zero) && failed.isSearch && failed.failed?.failure.message == "bad")
    #expect(rule.positionRead(0) == .isolate(Self.page, chunk: 0))
    let step = try await runner.apply(Self.page, .searchingPoison(chunk: 0), &rule)
    #expect(step.next == .awaitMark(above: 7) && step.applied?.page == Self.page)
    #expect(pages.asked == [.whole, .searchingPoison(chunk: 0)])
    #expect(observed.all.map(\.fact) == [.deadLetter])
  }

  @Test func `and fails in passing is tried again, and that is told`() async throws {
    let (runner, _) = runner([.failure(PageFailure(.transient, Problem("deadlock", code: .sqlState("40P01"))))])
    var rule = shard()
    let step = try await runner.apply(Self.page, .whole, &rule)
    #expect(step.next == .wait(.milliseconds(250)) && !step.isSearch && step.failed?.failureClass == .transient)
    #expect(rule.attempt == 1 && rule.condition.state == .retrying)
  }

  @Test func `and is cancelled is no failure`() async throws {
    let (runner, _) = runner([.failure(CancellationError())])
    var rule = shard()
    do {
      _ = try await runner.apply(Self.page, .whole, &rule)
      Issue.record("it was cancelled")
    } catch is CancellationError {}
    #expect(rule.attempt == 0)
  }
}
