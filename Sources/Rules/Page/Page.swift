/// A half-open range of sequences, `(floor, ceiling]`, that a shard applies in one transaction.
///
/// A range of numbers, not a count of rows: cutting one costs nothing, and a sparse projection skips ahead.
package struct Page: Hashable, Sendable, CustomStringConvertible {
  /// The shard's position before the page: not part of it.
  package var floor: Int64
  /// The last number of the page, and the shard's position after it.
  package var ceiling: Int64

  package init(floor: Int64, ceiling: Int64) {
    precondition(floor <= ceiling, "a page ends at or after its floor")
    self.floor = floor
    self.ceiling = ceiling
  }

  /// How many numbers the page spans; it may have fewer events.
  package var width: Int64 { ceiling.less(floor) }

  package var description: String { "(\(floor), \(ceiling)]" }
}

/// Positions and marks come from tables that others write too. A distance that no number has is the largest there is, and not the end of
/// the process.
extension Int64 {
  package func less(_ other: Int64) -> Int64 {
    let (difference, isBeyond) = subtractingReportingOverflow(other)
    return isBeyond ? (other < 0 ? .max : .min) : difference
  }

  package func plus(_ other: Int64) -> Int64 {
    let (sum, isBeyond) = addingReportingOverflow(other)
    return isBeyond ? (other < 0 ? .min : .max) : sum
  }
}
