import Rules

/// What the locks of leadership are about: each shard on its own, or, where there are several databases, a database as a whole, so that
/// all its shards are on one node and the others need few connections to it.
enum LockScope: Sendable {
  /// - Parameter schema: of the event store, which is part of Marten's keys.
  case shards(schema: String)
  /// One database, among the names of all.
  case database(String, of: [String])

  /// What this node would lead; a database goes by the name that a shard would have.
  func own(_ definitions: [ProjectionDefinition]) -> Set<ShardName> {
    switch self {
    case .shards: Set(definitions.map(\.shard))
    case .database: Set(databases(definitions.isEmpty).map { ShardName(projection: $0) })
    }
  }

  /// Every database, but for this one where a node does not offer to run its shards.
  private func databases(_ isWaived: Bool) -> [String] {
    guard case .database(let name, let all) = self else { return [] }
    return all.filter { !isWaived || $0 != name }
  }

  /// The same for the other nodes that live.
  ///
  /// - Parameter nodes: by node, the shards in its settings; nil for one of a version that does not say, which knows what we know.
  func others(_ nodes: [String: Set<String>?], _ definitions: [ProjectionDefinition]) -> [String: Set<String>] {
    switch self {
    case .shards: nodes.mapValues { $0 ?? Set(definitions.names) }
    case .database: nodes.mapValues { Set(databases($0?.isEmpty ?? false).map { "\(ShardName(projection: $0))" }) }
    }
  }

  /// What runs, by what is led.
  func running(_ shards: Set<ShardName>) -> Set<ShardName> {
    switch self {
    case .shards: shards
    case .database(let name, _): shards.isEmpty ? [] : [ShardName(projection: name)]
    }
  }

  /// Of what this node should take: what is to be had in this database.
  func here(_ names: [ShardName]) -> [ShardName] {
    switch self {
    case .shards: names
    case .database(let name, _): names.filter { $0 == ShardName(projection: name) }
    }
  }

  /// The shards that run while the rule holds what they are part of.
  func led(_ definitions: [ProjectionDefinition], _ rule: Leadership) -> [ProjectionDefinition] {
    switch self {
    case .shards: definitions.filter { rule.runs($0.shard) }
    case .database(let name, _): rule.runs(ShardName(projection: name)) ? definitions : []
    }
  }

  /// The shards that are meant by one of the names, for the log.
  func shards(of name: ShardName, _ definitions: [ProjectionDefinition]) -> [ShardName] {
    switch self {
    case .shards: [name]
    case .database: definitions.map(\.shard)
    }
  }

  func key(_ name: ShardName) -> Int64 {
    switch self {
    case .shards(let schema): LeaderLock.key(schema: schema, shard: "\(name)")
    case .database: LeaderLock.databaseKey
    }
  }
}
