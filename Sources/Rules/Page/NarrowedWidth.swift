/// How wide pages may be after one was too wide: half of it at once, then slowly wider again.
///
/// What a page may take on is no constant: a timeout is set, a read model grows, a disk fills. So a limit that was met is tried again, but
/// each time that it is met again, only after twice as many pages, because every attempt may cost a whole timeout.
package struct NarrowedWidth: Sendable, Hashable {
  /// Pages at the limit before it doubles.
  static let patience = 8...1_024

  /// The widest page now; nil for no limit.
  package private(set) var limit: Int64?
  private var patience = Self.patience.lowerBound
  /// Pages at the limit since it last changed.
  private var calm = 0
  /// The limit has doubled, and no page as wide has been applied yet.
  private var isProbing = false

  package init() {}

  /// A page of this width was too wide.
  ///
  /// - Returns: false if it cannot be narrower.
  package mutating func failed(at width: Int64) -> Bool {
    guard width > 1 else { return false }
    if isProbing { patience = min(patience * 2, Self.patience.upperBound) }
    limit = width / 2
    calm = 0
    isProbing = false
    return true
  }

  /// A page of this width was applied.
  ///
  /// - Parameter widest: from where on there is no limit.
  package mutating func applied(_ width: Int64, widest: Int64) {
    guard let limit, width >= limit else { return }
    if isProbing { patience = Self.patience.lowerBound }
    isProbing = false
    calm += 1
    guard calm >= patience else { return }
    calm = 0
    self.limit = limit * 2 < widest ? limit * 2 : nil
    isProbing = true
  }

  package func narrowed(_ width: Int64) -> Int64 { limit.map { min($0, width) } ?? width }
}
