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
  package var width: Int64 { ceiling - floor }

  package var description: String { "(\(floor), \(ceiling)]" }
}
