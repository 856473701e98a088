package import Postgres
package import Rules

/// Tells whether nothing is being appended to an event store, which `start = "inline-handover"` needs.
///
/// The application has kept the read model itself, in the transactions of its events, so "handed out" and "applied" are the same
/// only while no such transaction is open. A busy store is at rest between any two transactions, so one look proves nothing: two looks,
/// some time apart, must find no writer and the same numbers.
package struct QuiescenceCheck: Sendable {
  /// Between the two looks.
  package static let quiet = Duration.seconds(1)

  /// The result of one look.
  package struct Look: Sendable {
    /// The highest number that was handed out, or that is visible.
    package var highest: Int64
    /// Transactions that have appended or may append, in words.
    package var writers: [String]
  }

  private let reads: HighWaterReads

  package init(_ shape: StoreShape) { reads = HighWaterReads(shape) }

  package func look(_ session: Session) async throws -> Look {
    let (numbers, holders) = try await reads.numbersAndHolders(session)
    var writers = try await reads.describe(holders.map(\.virtualTransaction), session)
    // A writer that ended between the two reads has appended all the same.
    if writers.isEmpty, !holders.isEmpty { writers = ["a transaction that has just ended"] }
    return Look(highest: max(numbers.handedOut, numbers.highestVisible), writers: writers)
  }

  /// - Parameter mark: the high-water mark between the two; nil if it is not known.
  /// - Throws: ``Problem`` if the store was not at rest.
  package static func check(_ first: Look, _ second: Look, mark: Int64? = nil) throws(Problem) {
    let writers = second.writers.isEmpty ? first.writers : second.writers
    let reason: String
    if !writers.isEmpty {
      reason = writers.joined(separator: "; ")
    } else if second.highest != first.highest {
      reason = "events were appended within the last second"
    } else if let mark, mark < second.highest {
      reason = "numbers from \(mark + 1) on were handed out, and their events may still arrive"
    } else {
      return
    }
    throw Problem(
      .store(.notAtRest), "events are still being appended: \(reason)",
      hint:
        "With inline-handover the shard takes over from the application, so nothing may be appended while it starts. Stop the writers, or end their transactions; the shard then starts on its own."
    )
  }
}
