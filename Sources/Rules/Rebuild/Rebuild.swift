/// Decides what a rebuild does next: a state machine that knows neither the database nor the clock.
///
/// It fills new tables beside the old ones while the live shard continues. The rebuild follows the live shard's position, never the
/// high-water mark: it ends exactly at that position, so the position does not move when the tables are exchanged, and the live shard
/// does not notice. Near that position the live shard waits, the rebuild applies the last events, and one commit exchanges the tables.
/// If readers block a swap, the rebuild puts it off, and the live shard continues.
package struct Rebuild: Sendable {
  package enum Command: Hashable, Sendable {
    /// Create the new tables.
    case prepare
    /// Read the positions of the workers and of the live shard.
    case measure
    /// Apply events up to this sequence.
    case replay(to: Int64)
    /// Make the live shard wait, apply the rest, then compare, exchange, or both.
    case close(ExchangeChoice)
    /// Wait for readers to finish, then measure again.
    case wait(Duration)
    case finish
  }

  package private(set) var choice: ExchangeChoice
  /// Whether the operator left the choice of a way open.
  private let mayCopy: Bool
  /// The sequence to stop at; nil for the live shard's position.
  private let upTo: Int64?
  /// A rebuild at most this many sequences behind closes without another round.
  private let near: Int64
  /// Sequences a second, as last measured.
  private var rate = 0.0
  /// Exchanges in a row that readers blocked.
  package private(set) var hindrances = 0
  /// A page failed while the live shard waited, so the rest is applied while the live shard runs.
  private var hasFaltered = false

  /// How many seconds the live shard may wait for the last events.
  static let patience_s = 0.5
  /// For statements, which apply this many in a moment.
  package static let nearForStatements: Int64 = 1_000
  /// For a plugin, which may take long for each event while the live shard waits.
  package static let nearForPlugin: Int64 = 10
  /// After this many blocked swaps a copy is the better way.
  static let hindrancesBeforeCopy = 20

  package init(choice: ExchangeChoice, mayCopy: Bool, upTo: Int64? = nil, near: Int64 = nearForStatements) {
    self.choice = choice
    self.mayCopy = mayCopy
    self.upTo = upTo
    self.near = near
  }

  package func begin(isPrepared: Bool) -> Command { isPrepared ? .measure : .prepare }

  /// - Parameters:
  ///   - position: the lowest position of the workers.
  ///   - live: the live shard's position.
  package func measured(position: Int64, live: Int64) -> Command {
    let target = upTo ?? live
    let behind = target.less(position)
    if behind <= 0 { return .close(choice) }
    if !hasFaltered, behind <= near || Double(behind) <= rate * Self.patience_s { return .close(choice) }
    return .replay(to: target)
  }

  package mutating func replayed(_ sequences: Int64, took: Duration) -> Command {
    if took > .zero { rate = Double(sequences) / (took / .seconds(1)) }
    hasFaltered = false
    return .measure
  }

  /// A page failed during the closing, and is retried while the live shard runs, since the retries may take any time.
  package mutating func faltered() -> Command {
    hasFaltered = true
    return .measure
  }

  /// A reader still uses the old tables, or has a snapshot from before the new ones were complete.
  package mutating func hindered() -> Command {
    hindrances += 1
    if mayCopy, choice.way == .swap, hindrances >= Self.hindrancesBeforeCopy {
      choice = ExchangeChoice(.copy, reason: "readers blocked a swap \(hindrances) times")
    }
    return .wait(.milliseconds(min(100 * hindrances, 2_000)))
  }
}
