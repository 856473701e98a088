import Concurrency
import Rules

/// Runs one agent for each declared shard, and replaces agents when the declarations change.
///
/// A shard with an unchanged definition is not touched. A removed shard finishes its page; a changed one does too, then continues at its
/// position with the new definition.
actor ShardSet: Service {
  private let makeAgent: @Sendable (ProjectionDefinition) -> any Service
  private var slots: [ShardName: ShardSlot] = [:]
  private let group = ServiceGroup()

  private(set) var definitions: [ProjectionDefinition] = []

  init(makeAgent: @escaping @Sendable (ProjectionDefinition) -> any Service) {
    self.makeAgent = makeAgent
  }

  struct Change: Hashable, Sendable {
    var added: [ShardName] = []
    var removed: [ShardName] = []
    var changed: [ShardName] = []

    init() {}

    init(from old: [ProjectionDefinition], to new: [ProjectionDefinition]) {
      let before = Dictionary(uniqueKeysWithValues: old.map { ($0.shard, $0) })
      let names = Set(new.map(\.shard))
      removed = before.keys.filter { !names.contains($0) }.sorted()
      added = new.map(\.shard).filter { before[$0] == nil }
      changed = new.filter { definition in
        guard let old = before[definition.shard] else { return false }
        return old.fingerprint != definition.fingerprint
      }.map(\.shard)
    }
  }

  /// Takes new declarations; ``run()`` starts and ends the agents.
  @discardableResult
  func declare(_ definitions: [ProjectionDefinition]) async -> Change {
    let change = Change(from: self.definitions, to: definitions)
    self.definitions = definitions
    for name in change.removed { await slots[name]?.declare(nil) }
    let touched = Set(change.added + change.changed)
    for definition in definitions where touched.contains(definition.shard) {
      // A slot emptied a moment ago may still be finishing its page; use it again rather than add a second one.
      if let slot = slots[definition.shard], await slot.declare(definition) { continue }
      let slot = ShardSlot(definition, makeAgent: makeAgent)
      slots[definition.shard] = slot
      // The set is stopping: this shard never runs.
      if !group.add(slot) { await slot.end() }
    }
    return change
  }

  /// Runs exactly these shards; returns when all others have ended.
  ///
  /// - Parameter cancelling: ends the others at once, even in the middle of a page; otherwise they finish it.
  func lead(_ definitions: [ProjectionDefinition], cancelling: Bool) async {
    await declare(definitions)
    let wanted = Set(definitions.map(\.shard))
    let others = slots.filter { !wanted.contains($0.key) }.values
    if cancelling { for slot in others { await slot.cancel() } }
    for slot in others { await slot.untilEnded() }
  }

  /// The shards that have not ended on this node yet, including those that are ending.
  func running() async -> Set<ShardName> {
    var running: Set<ShardName> = []
    for (name, slot) in slots where await !slot.hasEnded { running.insert(name) }
    return running
  }

  func run() async throws { try await group.run() }
}

/// The slot of one shard: at most one agent runs in it, so a shard never runs twice in this process.
private actor ShardSlot: Service {
  private let makeAgent: @Sendable (ProjectionDefinition) -> any Service
  private var next: ProjectionDefinition?
  private var current: ServiceRun?
  private(set) var hasEnded = false
  private var waiting: [CheckedContinuation<Void, Never>] = []

  init(_ definition: ProjectionDefinition, makeAgent: @escaping @Sendable (ProjectionDefinition) -> any Service) {
    next = definition
    self.makeAgent = makeAgent
  }

  /// Cancels the current agent, even in the middle of a page.
  func cancel() {
    next = nil
    current?.cancel()
  }

  func untilEnded() async {
    if hasEnded { return }
    await withCheckedContinuation { waiting.append($0) }
  }

  func end() {
    hasEnded = true
    for continuation in waiting { continuation.resume() }
    waiting = []
  }

  /// Asks the current agent to finish, and sets the definition for the next one; nil for none. Returns false if the slot has ended already.
  @discardableResult
  func declare(_ definition: ProjectionDefinition?) -> Bool {
    guard !hasEnded else { return false }
    next = definition
    current?.end()
    return true
  }

  func run() async throws {
    defer { end() }
    while let definition = next, !Stop.current.isRequested {
      next = nil
      let run = ServiceRun(makeAgent(definition), under: .current)
      current = run
      try await run.run()
      current = nil
    }
  }
}
