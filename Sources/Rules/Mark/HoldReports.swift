/// When to report a hold of the mark: once it has lasted for a while, each time that doubles, and once when it is over.
package struct HoldReports: Sendable {
  package enum Report: Sendable, Hashable {
    case held
    /// With its length as last reported.
    case released(after: Duration)
  }

  private var number: Int64?
  private var moments = Doubling(from: .seconds(10))
  /// How long the hold must last for the next report.
  private var due: Duration
  /// How long the hold had lasted at the last report.
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
