import Books
import Concurrency
import EventStore
import Postgres
import Rules
import Settings
import Telemetry

/// Watches the numbers that the mark has passed without an event, so that an event that becomes visible in one is reported: the gaps that
/// were skipped without proof, and the last numbers that were proven to be dead (``PassedNumbers``).
///
/// Every node looks; the first to find an event records it, so it is reported once. This is an agent of its own because it waits for the
/// locks of shards, and the mark must not wait.
struct LateArrivalAgent: Service {
  var shape: StoreShape
  var settings: EventStoreSettings
  var pool: SessionPool
  var marks: MarkBoard
  /// The declared shards, with the event types that each takes.
  var takers: @Sendable () async -> [MarkTable.Taker]
  var node: String
  var troubles: TroubleBoard
  var observer: any Observer

  /// How often it checks the gaps of the last `late_arrival_window`.
  static let cadence = Duration.seconds(5)
  /// How often it checks all gaps, also those passed while no daemon ran and those about to be forgotten.
  static let fullCadence = Duration.seconds(600)

  func run() async throws {
    var fullLookDue = ContinuousClock.now
    var passed: (look: PassedNumbers, era: Int)?
    while !Stop.isDue {
      let isFull = ContinuousClock.now >= fullLookDue
      do {
        let window = isFull ? nil : settings.lateArrivalWindow
        let before = passed
        passed = try await troubles.doing(.gaps) { try await stoppable { try await lookForUndrawn(since: before) } }
        try await troubles.doing(.gaps) { try await stoppable { try await look(within: window) } }
        if isFull { fullLookDue = .now + Self.fullCadence }
      } catch let error where error is CancellationError || (error as? PostgresError)?.isCancelled == true {
        break
      } catch let error as PostgresError where !error.mayPass {
        observer.observe(.gapsUnwatched(failure: Problem(error)))
      } catch {
        // The board of troubles reports what lasts.
      }
      await rest(for: Self.cadence)
    }
  }

  private func look(within window: Duration?) async throws {
    let table = MarkTable(shape)
    try await pool.withSession(for: "late arrivals", unlessStopped: true) { session in
      let arrivals = try await table.lateArrivals(within: window, session)
      if !arrivals.isEmpty {
        let takers = await takers()
        for kept in try await table.keep(arrivals, takers: takers, node: node, session) {
          observer.observe(
            .lateArrival(sequence: kept.arrival.sequence, type: kept.arrival.type, shards: kept.shards))
        }
      }
      // Only gaps that were just checked may be forgotten.
      if window == nil { try await table.prune(session) }
    }
  }

  /// Looks for events in numbers that were dead at the last look.
  ///
  /// - Returns: what this look shows; nil while no mark is proven.
  private func lookForUndrawn(
    since before: (look: PassedNumbers, era: Int)?
  ) async throws -> (look: PassedNumbers, era: Int)? {
    guard let mark = await marks.current?.sequence else { return before }
    let takers = await takers()
    return try await pool.withSession(for: "late arrivals", unlessStopped: true) { session in
      let now = try await PassedNumbers.look(below: mark, shape, session)
      // Once the numbers have begun anew, each may have another event.
      guard let now, let era = try await EraTable(shape).current(session) else { return nil }
      guard let before, before.era == era else { return (now, era) }
      let found = now.undrawn(since: before.look)
      if !found.isEmpty, let kept = try await UndrawnEvents(shape).keep(found, takers: takers, node: node, session) {
        observer.observe(.numbersNotDrawn(kept.sequences, shards: kept.shards, undecided: kept.undecided))
      }
      return (now, era)
    }
  }
}
