import Books
import Concurrency
import EventStore
import Postgres
import Rules
import Settings
import Telemetry

/// Watches the gaps that the mark stepped over without proof: an event that comes up in one after all is never lost in silence.
///
/// Every node looks; whoever is first accounts for an event, so that it is met once. It works beside the high-water agent, since it waits for the locks of shards, and the mark must wait for nobody.
struct LateArrivalAgent: Service {
  var shape: StoreShape
  var settings: EventStoreSettings
  var pool: SessionPool
  /// Who takes which event types just now.
  var takers: @Sendable () async -> [MarkTable.Taker]
  var node: String
  var observer: any Observer

  /// How often the gaps of the last `late_arrival_window` are looked at.
  static let cadence = Duration.seconds(5)
  /// How often all gaps are looked at: those that were passed while no daemon ran, and those about to be forgotten.
  static let fullCadence = Duration.seconds(600)

  func run() async throws {
    var fullLookDue = ContinuousClock.now
    while !Stop.isDue {
      let isFull = ContinuousClock.now >= fullLookDue
      do {
        try await look(within: isFull ? nil : settings.lateArrivalWindow)
        if isFull { fullLookDue = .now + Self.fullCadence }
      } catch let error where error is CancellationError || (error as? PostgresError)?.isCancelled == true {
        break
      } catch let error as PostgresError where error.isConnectionLoss || error.sqlState == .lockNotAvailable {
        // The high-water agent reports a database that is away; a lock is free at one of the next looks.
      } catch let error as PostgresError {
        observer.observe(.gapsUnwatched(failure: Problem(error)))
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
      // Only what has just been looked at may be forgotten.
      if window == nil { try await table.prune(session) }
    }
  }
}
