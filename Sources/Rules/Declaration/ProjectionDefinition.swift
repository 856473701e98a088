/// A projection as the operator declared it under `[projections.NAME]`: it turns events into a read model.
package struct ProjectionDefinition: Hashable, Sendable {
  package var name: String
  /// From 1; each version is a shard of its own with a position of its own.
  package var version: Int
  /// Event types the projection takes; nil takes every type. The event form takes exactly the types it has statements for.
  package var events: [String]?
  /// The tables the projection writes. `init` runs `setup` when one of them is missing.
  package var tables: [String]
  /// Statements that create the tables; run as one script.
  package var setup: Statement?
  package var effect: Effect
  package var start: StartPosition
  package var onPoison: OnPoison
  package var onMismatch: OnMismatch
  package var archived: Archived
  /// The aggregates whose compacted streams do not matter to the projection.
  package var acceptCompacted: [String]
  /// The column of every table that holds the id of the stream a row is made of; nil if rows are made of several streams.
  package var key: String?
  /// The column of every table that holds the tenant.
  package var tenantKey: String?
  /// A rebuild may process streams in parallel, though no column says which row is whose.
  package var isParallel: Bool
  /// The place of the projection's own table in the settings.
  package var source: SourceLocation
  /// What variables in its keys stand for.
  package private(set) var concealment = Concealment()

  package init(
    name: String, version: Int = 1, events: [String]? = nil, tables: [String] = [], setup: Statement? = nil,
    effect: Effect, start: StartPosition = .beginning, onPoison: OnPoison = .skip, onMismatch: OnMismatch = .wait,
    archived: Archived = .keep, acceptCompacted: [String] = [], key: String? = nil, tenantKey: String? = nil,
    isParallel: Bool = false,
    source: SourceLocation = .unknown
  ) {
    self.name = name
    self.version = version
    self.events = events
    self.tables = tables
    self.setup = setup
    self.effect = effect
    self.start = start
    self.onPoison = onPoison
    self.onMismatch = onMismatch
    self.archived = archived
    self.acceptCompacted = acceptCompacted
    self.key = key
    self.tenantKey = tenantKey
    self.isParallel = isParallel
    self.source = source
  }

  package mutating func conceal(_ concealment: Concealment) {
    self.concealment = concealment
    guard case .plugin(var plugin) = effect else { return }
    plugin.concealment = concealment
    effect = .plugin(plugin)
  }

  /// A text of its work: definitions with equal texts do equal work.
  package var workText: String {
    switch effect {
    case .batch(let statements): statements.map(\.text).joined(separator: ";")
    case .perEvent(let statements):
      statements.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value.text)" }.joined(separator: ";")
    case .plugin(let plugin): plugin.workText
    }
  }

  package var plugin: PluginDefinition? {
    if case .plugin(let plugin) = effect { plugin } else { nil }
  }

  package var shard: ShardName { ShardName(projection: name, version: version) }
  /// The settings key that declares it.
  package var settingsKey: String { "projections.\(name)" }

  /// Every event type the shard takes, or nil for all of them.
  package var takes: [String]? {
    switch effect {
    case .batch, .plugin: events
    case .perEvent(let statements): statements.keys.sorted()
    }
  }
}

/// Which events of different streams may be applied in any order.
package enum Parallelism: String, CaseIterable, Hashable, Sendable {
  /// None: the effect of an event may depend on any earlier one.
  case none
  /// The effect of an event depends only on earlier events of its own stream.
  case byStream = "by-stream"
}

/// What a dead letter means for later events of its stream.
package enum OnPoison: String, CaseIterable, Hashable, Sendable {
  /// They are applied.
  case skip
  /// They become dead letters too, until an operator replays or discards them in order.
  case parkStream = "park-stream"
}

/// What a shard does when its position and its tables do not seem to belong together.
package enum OnMismatch: String, CaseIterable, Hashable, Sendable {
  /// It waits for an operator.
  case wait
  /// It applies events all the same.
  case `continue`
}

/// What becomes of events that the store has archived since they were committed: the same in pages, late arrivals, replays and rebuilds.
package enum Archived: String, CaseIterable, Hashable, Sendable {
  /// They count as any other event, whenever they were archived.
  case keep
  /// They are skipped wherever they are archived by the time they are read.
  case skip
}

/// How a projection changes its read model.
package enum Effect: Hashable, Sendable {
  /// Set-based statements over the view `batch`, run in order once per page.
  case batch([Statement])
  /// One statement per event type, run once per event in sequence order; the names in it are binds.
  case perEvent([String: BoundStatement])
  /// A program of the operator's, which gets one page at a time.
  case plugin(PluginDefinition)
}

/// One SQL statement and where the operator wrote it.
package struct Statement: Hashable, Sendable {
  package var text: String
  package var source: SourceLocation

  package init(text: String, source: SourceLocation = .unknown) {
    self.text = text
    self.source = source
  }
}

/// A statement in which each `:name` has become a numbered parameter.
package struct BoundStatement: Hashable, Sendable {
  /// The statement as the operator wrote it.
  package var statement: Statement
  /// The same with `$1`, `$2`… in place of the names.
  package var text: String
  /// The column behind each parameter, in order: `$1` is `columns[0]`.
  package var columns: [EventColumn]

  package init(statement: Statement, text: String, columns: [EventColumn]) {
    self.statement = statement
    self.text = text
    self.columns = columns
  }
}

/// The columns of `batch`, which are the names that a statement of the event form can bind.
package enum EventColumn: String, CaseIterable, Hashable, Sendable {
  case seq_id, id, stream_id, version, type, data, timestamp, tenant_id, headers, causation_id, correlation_id
}

/// Where a shard without a position begins.
package enum StartPosition: Hashable, Sendable {
  /// With the first event.
  case beginning
  /// After the high-water mark at the moment the shard first runs.
  case present
  /// After this sequence.
  case sequence(Int64)
  /// With the first event at or after this time, as PostgreSQL reads a `timestamptz`.
  case time(String)
  /// After the highest number the sequence has handed out: for a read model that the application itself has kept up to date.
  case inlineHandover

  /// Whether the shard applies events from before it first ran.
  package var readsThePast: Bool {
    switch self {
    case .beginning, .sequence, .time: true
    case .present, .inlineHandover: false
    }
  }
}

/// A place in a file of the operator's.
package struct SourceLocation: Hashable, Sendable, CustomStringConvertible {
  package var file: String
  /// From 1; 0 when unknown.
  package var line: Int
  /// From 1; 0 when unknown.
  package var column: Int

  package init(file: String, line: Int, column: Int = 0) {
    self.file = file
    self.line = line
    self.column = column
  }

  package static let unknown = SourceLocation(file: "", line: 0)

  package var description: String {
    if line == 0 { return file }
    return column == 0 ? "\(file):\(line)" : "\(file):\(line):\(column)"
  }
}
