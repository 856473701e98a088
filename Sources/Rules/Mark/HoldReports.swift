/// When a hold of the mark is told: once it has lasted, again each time that has doubled, and once when it is over.
package struct HoldReports: Sendable {
  package enum Report: Sendable, Hashable {
    case held
    /// After so long, as it was last told.
    case released(after: Duration)
  }

  private var number: Int64?
  private var moments = Doubling(from: .seconds(10))
  /// How long the hold has to last to be told.
  private var due: Duration
  /// For how long the hold had lasted when it was last told.
  private var told: Duration?

  package init() { due = moments.next() }

  /// - Parameter hold: as of the last reading.
  package mutating func report(_ hold: HighWater.Hold?) -> Report? {
    guard let hold else {
      defer { self = HoldReports() }
      return told.map { .released(after: $0) }
    }
    if number != hold.number {
      self = HoldReports()
      number = hold.number
    }
    guard hold.lasted >= due else { return nil }
    told = hold.lasted
    repeat { due = moments.next() } while due <= hold.lasted
    return .held
  }
}
