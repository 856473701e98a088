import EventStore
import Postgres
import Projection
import ServiceLifecycle
import Telemetry

/// What operators want of each shard, and where shards wait for that to change.
package actor WishBoard {
  /// What a shard should do, and until when.
  enum Wish: Hashable, Sendable {
    case run
    case pause(until: ContinuousClock.Instant?, by: String)
    case stop(by: String)
  }

  private struct Slot {
    var wish = Wish.run
    var serial: Int64 = 0
    /// Counts what the shard should look at.
    var revision = 0
  }

  /// How a rule's wish for all shards names who wants it.
  static let rule = "a rule, for "

  private var slots: [String: Slot] = [:]
  private var hasTaken = false
  private var everyone = Slot()
  /// Shards that stand still for a rebuild, whatever else is wished.
  private var held: [String: Int] = [:]
  private let waiters = Waiters<Void, Void>()

  package init() {}

  /// What holds for a shard now, and its revision, which changes when an operator says something new.
  func current(_ shard: ShardName) -> (wish: Wish, revision: Int) {
    var slot = slots["\(shard)"] ?? Slot()
    if case .pause(let until?, _) = slot.wish, until <= .now {
      slot.wish = .run
      slots["\(shard)"] = slot
    }
    let revision = slot.revision + everyone.revision + (held["\(shard)"] ?? 0)
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
    hasTaken = true
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

  /// For every shard of this node, by a rule of the operator's.
  func wantOfAll(_ wish: Wish) {
    everyone.wish = wish
    everyone.revision += 1
    waiters.tell()
  }

  /// Returns when the shard's revision is another one.
  func change(_ shard: ShardName, from revision: Int) async throws {
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

/// Looks at the operators' wishes in the database, twice a second.
struct WishAgent: Service {
  var board: WishBoard
  var rebuilds: RebuildBoard
  var pool: SessionPool
  var declared: @Sendable () async -> [ProjectionDefinition]

  static let cadence = Duration.milliseconds(500)

  func run() async throws {
    while !Task.isCancelled && !Task.isShuttingDownGracefully {
      do {
        let wishes = try await pool.withSession(for: "books") { try await ShardWishes().all($0) }
        await board.take(wishes)
        await rebuilds.take(wishes, among: await declared().map(\.shard))
      } catch is CancellationError {
        break
      } catch {
        // A database that is away is reported by the high-water agent; what was wished last holds meanwhile.
      }
      try? await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.cadence) }
    }
  }
}
