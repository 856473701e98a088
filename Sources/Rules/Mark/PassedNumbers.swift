// A number at or below the mark that has no event is dead: every transaction that can have drawn it is over. The proof speaks of numbers
// that are drawn from the sequence. A writer that chooses a number itself (a restore, a partition that is attached, a subscription, an
// INSERT that names the number) can still bring an event there, and shards that are past it would never read it. So the daemon looks at the
// last numbers below the mark every few seconds, and compares each look with the one before: an event where a number was dead was not drawn.

/// What one snapshot shows of the last numbers that the mark has passed.
package struct PassedNumbers: Sendable, Hashable {
  /// How many numbers below the mark a look covers: as many as the mark looks back at its first start, and few enough to be read often.
  package static let width: Int64 = 20_000

  /// The numbers that the look covers, all of them at or below the mark.
  package var numbers: ClosedRange<Int64>
  /// The runs of numbers among them that have no event.
  package var gaps: [ClosedRange<Int64>]
  /// The positions of all shards in the same snapshot.
  package var positions: [String: Int64]

  package init(numbers: ClosedRange<Int64>, gaps: [ClosedRange<Int64>], positions: [String: Int64]) {
    self.numbers = numbers
    self.gaps = gaps
    self.positions = positions
  }

  /// Events that have appeared since, in numbers that were dead.
  package struct Undrawn: Sendable, Hashable {
    package var numbers: ClosedRange<Int64>
    /// The shards that were past these numbers before the events were there: they have not read them.
    package var missedBy: Set<String>
    /// The shards that have passed them between the two looks: no look tells whether the events were there already.
    package var perhapsMissedBy: Set<String>
  }

  /// The events that this look shows in numbers that `before` shows to be dead.
  ///
  /// A run of numbers is split where a shard's position lies inside, so that each part is passed whole or not at all.
  package func undrawn(since before: PassedNumbers) -> [Undrawn] {
    let dead = RangeSet(before.gaps.map { Range($0) }).intersection(RangeSet([Range(numbers)]))
    let filled = dead.subtracting(RangeSet(gaps.map { Range($0) }))
    let cuts = Set(before.positions.values).union(positions.values).sorted()
    var found: [Undrawn] = []
    for range in filled.ranges {
      var first = range.lowerBound
      let ends = cuts.filter { range.contains($0) && $0 < range.upperBound - 1 } + [range.upperBound - 1]
      for last in ends {
        let missedBy = Self.shards(past: last, in: before.positions)
        found.append(
          Undrawn(
            numbers: first...last, missedBy: missedBy,
            perhapsMissedBy: Self.shards(past: last, in: positions).subtracting(missedBy)))
        first = last + 1
      }
    }
    return found
  }

  private static func shards(past number: Int64, in positions: [String: Int64]) -> Set<String> {
    Set(positions.filter { $0.value >= number }.keys)
  }
}
