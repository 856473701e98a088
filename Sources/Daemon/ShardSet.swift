import Logging
import Projection
import ServiceLifecycle

/// Runs one agent for each declared shard, and exchanges agents when the declarations change.
///
/// A shard whose definition stays is not touched. One that goes finishes its page; one that changes does so too, and then goes on with
/// the new definition at its position.
actor ShardSet: Service {
  private let makeAgent: @Sendable (ProjectionDefinition) -> any Service
  private var slots: [ShardName: ShardSlot] = [:]
  private let arrivals: AsyncStream<ShardSlot>
  private let arrive: AsyncStream<ShardSlot>.Continuation

  private(set) var definitions: [ProjectionDefinition] = []

  init(makeAgent: @escaping @Sendable (ProjectionDefinition) -> any Service) {
    self.makeAgent = makeAgent
    (arrivals, arrive) = AsyncStream.makeStream()
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
        return !old.isSame(as: definition)
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
      arrive.yield(slot)
    }
    return change
  }

  func run() async throws {
    try await withThrowingDiscardingTaskGroup { group in
      for await slot in arrivals.cancelOnGracefulShutdown() {
        group.addTask { try await slot.run() }
      }
    }
  }
}

/// One shard's place: at most one agent runs in it, so a shard never runs twice in this process.
private actor ShardSlot {
  private let makeAgent: @Sendable (ProjectionDefinition) -> any Service
  private var next: ProjectionDefinition?
  private var current: ServiceGroup?
  private var hasEnded = false

  init(_ definition: ProjectionDefinition, makeAgent: @escaping @Sendable (ProjectionDefinition) -> any Service) {
    next = definition
    self.makeAgent = makeAgent
  }

  /// Asks the agent that runs to finish, and says what comes after it; nil is nothing. Returns false when the slot is closed already.
  @discardableResult
  func declare(_ definition: ProjectionDefinition?) async -> Bool {
    guard !hasEnded else { return false }
    next = definition
    await current?.triggerGracefulShutdown()
    return true
  }

  func run() async throws {
    defer { hasEnded = true }
    while let definition = next, !Task.isShuttingDownGracefully {
      next = nil
      var quiet = Logger(label: "service-group")
      quiet.logLevel = .critical
      let group = ServiceGroup(
        configuration: ServiceGroupConfiguration(
          services: [
            .init(service: makeAgent(definition), successTerminationBehavior: .gracefullyShutdownGroup)
          ], logger: quiet))
      current = group
      try await group.run()
      current = nil
    }
  }
}

extension ProjectionDefinition {
  /// Whether the same work would be done; where in its file a definition stands does not matter.
  func isSame(as other: ProjectionDefinition) -> Bool {
    workText == other.workText && takes == other.takes && start == other.start && tables == other.tables
      && onPoison == other.onPoison
  }
}
