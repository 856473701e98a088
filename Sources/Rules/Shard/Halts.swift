/// Which shards of a node stand still, by whose word, and for how long: a rule that knows neither the database nor the clock.
///
/// Three have a say. A rebuild that holds a shard comes first, then an operator's word for the shard, then what a rule of the settings
/// wants of every shard.
package struct Halts: Sendable {
  /// Counts what was said to a shard, by whom.
  package struct Revision: Hashable, Sendable {
    /// By operators, and by rebuilds that hold it and let it go.
    package var own = 0
    /// To all shards of the node, by a rule.
    package var everyone = 0
  }

  /// What operators have said of one shard.
  private struct Slot {
    var halt: Halt?
    var kind = OperatorRequest.Kind.run
    var serial: Int64 = 0
    var revision = 0
  }

  private struct Hold {
    var isOn = false
    /// Times it was put on or taken off.
    var changes = 0
  }

  /// Whether the database has said what is wished: until then no shard may run, since one that was stopped stays so over a restart.
  package private(set) var isKnown = false
  private var slots: [String: Slot] = [:]
  private var holds: [ShardName: Hold] = [:]
  private var everyone: (halt: Halt?, revision: Int) = (nil, 0)

  package init() {}

  /// What keeps a shard from running now, nil where it may run; and the revision, which changes whenever something new is said.
  package mutating func current(
    _ shard: ShardName, at now: ContinuousClock.Instant
  ) -> (halt: Halt?, revision: Revision) {
    let (slot, hold) = (slots["\(shard)"], holds[shard] ?? Hold())
    let revision = Revision(own: (slot?.revision ?? 0) + hold.changes, everyone: everyone.revision)
    if hold.isOn { return (Halt(.stop, by: .rebuild), revision) }
    if let halt = slot?.halt {
      if !halt.isOver(at: now) { return (halt, revision) }
      slots["\(shard)"]?.halt = nil
      // So that it is no news when the database says so too.
      slots["\(shard)"]?.kind = .run
    }
    if everyone.halt?.isOver(at: now) ?? false { everyone.halt = nil }
    return (everyone.halt, revision)
  }

  /// Takes over what the database says of every shard, by name.
  ///
  /// - Returns: whether there is something new in it.
  package mutating func take(_ requests: [String: OperatorRequest], at now: ContinuousClock.Instant) -> Bool {
    var hasNews = !isKnown
    for (name, request) in requests {
      let known = slots[name]
      var slot = known ?? Slot()
      let isSaid = known.map { $0.serial != request.serial } ?? (isKnown && request.serial > 0)
      guard known == nil || isSaid || slot.kind != request.kind else { continue }
      let isNews = isSaid || slot.kind != request.kind
      let source = Halt.Source.operator(request.by ?? "an operator")
      slot.halt =
        switch request.kind {
        case .run: nil
        case .pause: Halt(.pause(until: request.left.map { now + $0 }), by: source)
        case .stop: Halt(.stop, by: source)
        }
      slot.kind = request.kind
      slot.serial = request.serial
      if isNews { slot.revision += 1 }
      slots[name] = slot
      // A shard that is told to run again runs, also after a rule has stopped all.
      if isSaid, request.kind == .run { everyone.halt = nil }
      hasNews = hasNews || isNews
    }
    isKnown = true
    return hasNews
  }

  /// A rebuild wants the shard to stand still, and outranks every other wish, or lets it go on.
  ///
  /// - Returns: whether that is new.
  package mutating func hold(_ shard: ShardName, _ isOn: Bool) -> Bool {
    guard (holds[shard]?.isOn ?? false) != isOn else { return false }
    holds[shard, default: Hold()].isOn = isOn
    holds[shard, default: Hold()].changes += 1
    return true
  }

  /// A rule of the settings wants every shard to stand still, since something failed in one of them.
  ///
  /// - Parameter length: of a pause; nil is a stop.
  /// - Returns: whether that is new: a longer halt by another shard's rule holds.
  package mutating func haltAll(
    for length: Duration?, because failure: String, in shard: ShardName, at now: ContinuousClock.Instant
  ) -> Bool {
    let halt = Halt(length.map { .pause(until: now + $0) } ?? .stop, by: .rule(shard, failure: failure))
    switch (everyone.halt?.length, halt.length) {
    case (.stop?, .pause): return false
    case (.pause(let former?)?, .pause(let end?)) where former > end: return false
    default: break
    }
    everyone = (halt, everyone.revision + 1)
    return true
  }
}
