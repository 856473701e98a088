package import Postgres
package import Rules

/// Whether nothing is being appended to an event store: what `start = "inline-handover"` needs.
///
/// Until then the application kept the read model itself, in the transactions of the events, and "handed out" and "applied" are the same
/// only when none of them is under way. A store that is written to is at rest between any two transactions, so one look proves nothing:
/// two looks, some time apart, must find no writer and the same numbers.
package struct QuiescenceCheck: Sendable {
  /// Between the two looks.
  package static let quiet = Duration.seconds(1)

  /// What a look found.
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
    // Whoever ended between the two reads has appended all the same.
    if writers.isEmpty, !holders.isEmpty { writers = ["a transaction that has just ended"] }
    return Look(highest: max(numbers.handedOut, numbers.highestVisible), writers: writers)
  }

  /// Throws where the store was not at rest.
  ///
  /// - Parameter mark: the high-water mark between the two; nil where it is not known.
  package static func check(_ first: Look, _ second: Look, mark: Int64? = nil) throws(Problem) {
    let writers = second.writers.isEmpty ? first.writers : second.writers
    let reason: String
    if !writers.isEmpty {
      reason = writers.joined(separator: "; ")
    } else if second.highest != first.highest {
      reason = "events were appended within the last second"
    } else if let mark, mark < second.highest {
      reason = "numbers from \(mark + 1) on were handed out, and their events may still come"
    } else {
      return
    }
    throw Problem(
      .store(.notAtRest), "the store is not at rest; stop its writers: \(reason)",
      hint:
        "inline-handover begins where the application, which kept the read model itself, ended. Stop whatever appends, or end its transaction; the shard then starts by itself."
    )
  }
}
