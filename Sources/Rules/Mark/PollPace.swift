/// How long the high-water agent rests between two looks at the store: briefly while events arrive, then longer and longer.
package struct PollPace: Sendable {
  private let shortest: Duration
  private let longest: Duration
  private var rest: Duration

  /// The agent polls at full speed for a transaction that holds the mark only this long.
  static let patience = Duration.seconds(1)

  package init(from shortest: Duration, to longest: Duration) {
    self.shortest = shortest
    self.longest = longest
    rest = shortest
  }

  /// - Parameters:
  ///   - hasMoved: whether the mark moved in the look before the rest.
  ///   - isSettled: whether nothing is outstanding.
  ///   - held: for how long the mark has been held; nil if nothing holds it.
  package mutating func next(hasMoved: Bool, isSettled: Bool, held: Duration?) -> Duration {
    let isBusy = hasMoved || (!isSettled && held.map { $0 < Self.patience } ?? true)
    rest = isBusy ? shortest : min(rest * 2, longest)
    return rest
  }
}
