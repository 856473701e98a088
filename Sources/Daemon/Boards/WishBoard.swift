import Books
import Concurrency
import Postgres
import Rules
import Telemetry

/// What operators want of each shard, and where shards wait for that to change.
package actor WishBoard {
  /// What a shard should do, and until when.
  enum Wish: Hashable, Sendable {
    case run
    case pause(until: ContinuousClock.Instant?, by: String)
    case stop(by: String)
  }

  /// Counts what was said to a shard, by whom.
  struct Revision: Hashable, Sendable {
    /// By operators, and by rebuilds that hold it and let it go.
    var own = 0
    /// To all shards of the node, by a rule.
    var everyone = 0
  }

  private struct Slot {
    var wish = Wish.run
    var serial: Int64 = 0
    var revision = 0
  }

  /// How a rule's wish for all shards names who wants it.
  private static let rule = "a rule, for "

  private var slots: [String: Slot] = [:]
  /// Whether the database has said what is wished.
  private var hasTaken = false
  private var everyone = Slot()
  /// Shards that stand still for a rebuild, whatever else is wished.
  private var held: [String: Int] = [:]
  private let waiters = Waiters<Void, Void>()

  package init() {}

  /// Returns once the database has said what is wished: a shard that was stopped stays so over a restart.
  func untilKnown() async throws {
    while !hasTaken { try await waiters.wait() }
  }

  /// What holds for a shard now, and its revision, which changes when something new is said.
  func current(_ shard: ShardName) -> (wish: Wish, revision: Revision) {
    var slot = slots["\(shard)"] ?? Slot()
    if case .pause(let until?, _) = slot.wish, until <= .now {
      slot.wish = .run
      slots["\(shard)"] = slot
    }
    let revision = Revision(own: slot.revision + (held["\(shard)"] ?? 0), everyone: everyone.revision)
    if let holds = held["\(shard)"], !holds.isMultiple(of: 2) { return (.stop(by: Self.rebuild), revision) }
    if case .run = slot.wish {} else { return (slot.wish, revision) }
    if case .pause(let until?, _) = everyone.wish, until <= .now { everyone.wish = .run }
    return (everyone.wish, revision)
  }

  /// Takes over what the database says.
  func take(_ wishes: [String: ShardWishes.Wish]) {
    for (name, wish) in wishes {
      var slot = slots[name] ?? Slot()
      let isFirst = slots[name] == nil
      let by = wish.by ?? "an operator"
      let now: Wish =
        switch wish.kind {
        case .run: .run
        case .pause: .pause(until: wish.left.map { .now + $0 }, by: by)
        case .stop: .stop(by: by)
        }
      let isSaid = isFirst ? hasTaken && wish.serial > 0 : slot.serial != wish.serial
      guard isFirst || isSaid || slot.wish.kind != now.kind else { continue }
      let isNews = isSaid || now.kind != slot.wish.kind
      slot.wish = now
      slot.serial = wish.serial
      if isNews { slot.revision += 1 }
      slots[name] = slot
      // Whoever is told to run again runs, also after a "stop all".
      if isSaid, now == .run { everyone.wish = .run }
      if isNews { waiters.tell() }
    }
    if !hasTaken {
      hasTaken = true
      waiters.tell()
    }
  }

  /// Who wants a shard to stand still, while its position is moved.
  static let rebuild = "a rebuild"

  /// Makes a shard stand still, after the page it is in, or lets it go on where its position then is.
  func hold(_ shard: ShardName, _ holds: Bool) {
    let count = held["\(shard)"] ?? 0
    guard count.isMultiple(of: 2) == holds else { return }
    held["\(shard)"] = count + 1
    waiters.tell()
  }

  /// For every shard of this node in this database, by a rule of the operator's.
  ///
  /// - Parameters:
  ///   - length: of a pause; nil is a stop.
  ///   - reason: what failed in the shard.
  func haltAll(for length: Duration?, shard: ShardName, reason: String) {
    let by = Self.rule + "\(shard): \(reason)"
    switch (everyone.wish, length) {
    // What another shard's rule said holds, where it lasts longer.
    case (.stop, .some): return
    case (.pause(let until?, _), let length?) where until > .now + length: return
    default: everyone.wish = length.map { .pause(until: .now + $0, by: by) } ?? .stop(by: by)
    }
    everyone.revision += 1
    waiters.tell()
  }

  /// Returns when the shard's revision is another one.
  func change(_ shard: ShardName, from revision: Revision) async throws {
    while current(shard).revision == revision { try await waiters.wait() }
  }
}

extension WishBoard.Wish {
  /// Whether a rule of the settings wants it, and no operator.
  var isByRule: Bool {
    switch self {
    case .run: false
    case .pause(_, let by), .stop(let by): by.hasPrefix(WishBoard.rule)
    }
  }

  fileprivate var kind: Int {
    switch self {
    case .run: 0
    case .pause: 1
    case .stop: 2
    }
  }
}
