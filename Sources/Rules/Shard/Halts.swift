/// Which shards of a node are halted, by whom, and for how long: a rule that knows neither the database nor the clock.
///
/// There are three sources. A rebuild that holds a shard comes first, then an operator's request for the shard, then a rule in the
/// settings that halts every shard.
package struct Halts: Sendable {
  /// Counts the requests for a shard, by source.
  package struct Revision: Hashable, Sendable {
    /// From operators, and from rebuilds that hold and release it.
    package var own = 0
    /// From rules, for all shards of the node.
    package var everyone = 0
  }

  /// What operators requested of one shard.
  private struct Slot {
    var halt: Halt?
    var kind = OperatorRequest.Kind.run
    var serial: Int64 = 0
    var revision = 0
    /// Its pause has lasted as long as it was to. The database may not know that yet: a clock that was set back must not pause a shard twice.
    var isPauseOver = false
  }

  private struct Hold {
    var isOn = false
    /// How often it was put on or taken off.
    var changes = 0
  }

  /// Whether the requests have been read from the database: until then no shard may run, since a stopped shard stays stopped over a
  /// restart.
  package private(set) var isKnown = false
  private var slots: [String: Slot] = [:]
  private var holds: [ShardName: Hold] = [:]
  private var everyone: (halt: Halt?, revision: Int) = (nil, 0)

  package init() {}

  /// What keeps a shard from running now, nil if it may run; and the revision, which changes with each new request.
  package mutating func current(
    _ shard: ShardName, at now: ContinuousClock.Instant
  ) -> (halt: Halt?, revision: Revision) {
    let (slot, hold) = (slots["\(shard)"], holds[shard] ?? Hold())
    let revision = Revision(own: (slot?.revision ?? 0) + hold.changes, everyone: everyone.revision)
    if hold.isOn { return (Halt(.stop, by: .rebuild), revision) }
    if let halt = slot?.halt {
      if !halt.isOver(at: now) { return (halt, revision) }
      slots["\(shard)"]?.halt = nil
      // So that it is no news when the database shows it too.
      slots["\(shard)"]?.kind = .run
      slots["\(shard)"]?.isPauseOver = true
    }
    if everyone.halt?.isOver(at: now) ?? false { everyone.halt = nil }
    return (everyone.halt, revision)
  }

  /// The number of the latest request for a shard that is known here. Read it before ``current(_:at:)``, which then heeds it.
  package func serial(of shard: ShardName) -> Int64 { slots["\(shard)"]?.serial ?? 0 }

  /// Takes over the requests that the database has, by shard name.
  ///
  /// - Returns: whether anything in them is new.
  package mutating func take(_ requests: [String: OperatorRequest], at now: ContinuousClock.Instant) -> Bool {
    var hasNews = !isKnown
    for (name, request) in requests {
      let known = slots[name]
      var slot = known ?? Slot()
      let isSaid = known.map { $0.serial != request.serial } ?? (isKnown && request.serial > 0)
      guard known == nil || isSaid || slot.kind != request.kind else { continue }
      if !isSaid, slot.isPauseOver, request.kind == .pause { continue }
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
      slot.isPauseOver = false
      if isNews { slot.revision += 1 }
      slots[name] = slot
      // An operator who starts a shard ends the halt of all shards by a rule too.
      if isSaid, request.kind == .run { everyone.halt = nil }
      hasNews = hasNews || isNews
    }
    isKnown = true
    return hasNews
  }

  /// A rebuild holds the shard, which outranks every other request, or releases it.
  ///
  /// - Returns: whether that changes anything.
  package mutating func hold(_ shard: ShardName, _ isOn: Bool) -> Bool {
    guard (holds[shard]?.isOn ?? false) != isOn else { return false }
    holds[shard, default: Hold()].isOn = isOn
    holds[shard, default: Hold()].changes += 1
    return true
  }

  /// A rule in the settings halts every shard, because one of them failed.
  ///
  /// - Parameter length: of a pause; nil for a stop.
  /// - Returns: whether that changes anything: a longer halt after another shard's failure prevails.
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
