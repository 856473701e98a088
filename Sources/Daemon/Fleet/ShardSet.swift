import Concurrency
import Rules

/// Runs one agent for each declared shard, and exchanges agents when the declarations change.
///
/// A shard whose definition stays is not touched. One that goes finishes its page; one that changes does so too, and then goes on with
/// the new definition at its position.
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

  /// Takes over the declarations; what follows from them happens while ``run()`` runs.
  @discardableResult
  func declare(_ definitions: [ProjectionDefinition]) async -> Change {
    let change = Change(from: self.definitions, to: definitions)
    self.definitions = definitions
    for name in change.removed { await slots[name]?.declare(nil) }
    let touched = Set(change.added + change.changed)
    for definition in definitions where touched.contains(definition.shard) {
      // A slot that was emptied a moment ago may still be finishing its page: then it is filled again rather than doubled.
      if let slot = slots[definition.shard], await slot.declare(definition) { continue }
      let slot = ShardSlot(definition, makeAgent: makeAgent)
      slots[definition.shard] = slot
      // Told to stop: what is declared now never runs.
      if !group.add(slot) { await slot.end() }
    }
    return change
  }

  /// Runs exactly these shards, and returns when all others have ended.
  ///
  /// - Parameter cancelling: ends the others at once, in the middle of a page; otherwise they finish it.
  func lead(_ definitions: [ProjectionDefinition], cancelling: Bool) async {
    await declare(definitions)
    let wanted = Set(definitions.map(\.shard))
    let others = slots.filter { !wanted.contains($0.key) }.values
    if cancelling { for slot in others { await slot.cancel() } }
    for slot in others { await slot.untilEnded() }
  }

  /// The shards that have not ended here, those that are about to included.
  func running() async -> Set<ShardName> {
    var running: Set<ShardName> = []
    for (name, slot) in slots where await !slot.hasEnded { running.insert(name) }
    return running
  }

  func run() async throws { try await group.run() }
}

/// One shard's place: at most one agent runs in it, so a shard never runs twice in this process.
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

  /// Ends what runs now, wherever it is.
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

  /// Asks the agent that runs to finish, and says what comes after it; nil is nothing. Returns false when the slot is closed already.
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
