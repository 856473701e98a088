/// What a rebuild does next: a state machine that knows neither the database nor the clock.
///
/// New tables are filled beside the old ones while the live shard goes on. The rebuild follows the live shard's position, never the
/// high-water mark: it ends exactly where the live shard stands, so the position does not move when the tables are exchanged, and the
/// live shard does not notice. Near that position the live shard is made to wait, the last events are applied, and the exchange happens in
/// one commit. Where readers are in the way of a swap, it is given up for the moment, and the live shard goes on.
package struct Rebuild: Sendable {
  package enum Command: Hashable, Sendable {
    /// Make the new tables.
    case prepare
    /// Read where the new tables and the live shard stand.
    case measure
    /// Apply events up to this sequence.
    case replay(to: Int64)
    /// Let the live shard wait, apply the rest, then compare, exchange, or both.
    case close(ExchangeChoice)
    /// Let readers go first, then measure again.
    case wait(Duration)
    case finish
  }

  package private(set) var choice: ExchangeChoice
  /// The operator left the way open.
  private let mayCopy: Bool
  /// The sequence to stop at; nil is wherever the live shard stands.
  private let upTo: Int64?
  /// Sequences that are worth no round of their own.
  private let near: Int64
  /// Sequences a second, as last measured.
  private var rate = 0.0
  /// Closings in a row that readers were in the way of.
  package private(set) var hindrances = 0
  /// A page failed while the live shard waited: what is left is applied while it does not wait.
  private var hasFaltered = false

  /// Seconds that the live shard may have to wait for the last events.
  static let patience_s = 0.5
  /// Of statements, which apply so many within a moment.
  package static let nearForStatements: Int64 = 1_000
  /// Of a plugin, which may take its time for each event while the live shard waits.
  package static let nearForPlugin: Int64 = 10
  /// After so many hindrances a copy is the better way.
  static let hindrancesBeforeCopy = 20

  package init(choice: ExchangeChoice, mayCopy: Bool, upTo: Int64? = nil, near: Int64 = nearForStatements) {
    self.choice = choice
    self.mayCopy = mayCopy
    self.upTo = upTo
    self.near = near
  }

  package func begin(isPrepared: Bool) -> Command { isPrepared ? .measure : .prepare }

  /// - Parameters:
  ///   - position: up to which every worker has come.
  ///   - live: the live shard's position.
  package func measured(position: Int64, live: Int64) -> Command {
    let target = upTo ?? live
    let behind = target - position
    if behind <= 0 { return .close(choice) }
    if !hasFaltered, behind <= near || Double(behind) <= rate * Self.patience_s { return .close(choice) }
    return .replay(to: target)
  }

  package mutating func replayed(_ sequences: Int64, took: Duration) -> Command {
    if took > .zero { rate = Double(sequences) / (took / .seconds(1)) }
    hasFaltered = false
    return .measure
  }

  /// A page failed during the closing, and will be tried again: with the live shard going on, as nobody knows how long that takes.
  package mutating func faltered() -> Command {
    hasFaltered = true
    return .measure
  }

  /// Somebody still reads the old tables, or has a snapshot from before the new ones were full.
  package mutating func hindered() -> Command {
    hindrances += 1
    if mayCopy, choice.way == .swap, hindrances >= Self.hindrancesBeforeCopy {
      choice = ExchangeChoice(.copy, reason: "readers were in the way of a swap \(hindrances) times")
    }
    return .wait(.milliseconds(min(100 * hindrances, 2_000)))
  }
}
