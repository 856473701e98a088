import Rules

/// What one leadership lock covers: a shard, or, if there are several databases, a whole database, so that one node runs all its shards and
/// the other nodes need few connections to it.
enum LockScope: Sendable {
  /// - Parameter schema: the schema of the event store, part of Marten's keys.
  case shards(schema: String)
  /// One database, and the names of all.
  case database(String, of: [String])

  /// What this node may lead; a database appears as a shard name.
  func own(_ definitions: [ProjectionDefinition]) -> Set<ShardName> {
    switch self {
    case .shards: Set(definitions.map(\.shard))
    case .database: Set(databases(definitions.isEmpty).map { ShardName(projection: $0) })
    }
  }

  /// All databases, without this one if a node does not offer to run its shards.
  private func databases(_ isWaived: Bool) -> [String] {
    guard case .database(let name, let all) = self else { return [] }
    return all.filter { !isWaived || $0 != name }
  }

  /// The same for the other live nodes.
  ///
  /// - Parameter nodes: the shards in each node's settings; nil for a version that does not write them, which is assumed to have ours.
  func others(_ nodes: [String: Set<String>?], _ definitions: [ProjectionDefinition]) -> [String: Set<String>] {
    switch self {
    case .shards: nodes.mapValues { $0 ?? Set(definitions.names) }
    case .database: nodes.mapValues { Set(databases($0?.isEmpty ?? false).map { "\(ShardName(projection: $0))" }) }
    }
  }

  /// The names of the locks that cover the running shards.
  func running(_ shards: Set<ShardName>) -> Set<ShardName> {
    switch self {
    case .shards: shards
    case .database(let name, _): shards.isEmpty ? [] : [ShardName(projection: name)]
    }
  }

  /// The names of the locks to take in this database.
  func here(_ names: [ShardName]) -> [ShardName] {
    switch self {
    case .shards: names
    case .database(let name, _): names.filter { $0 == ShardName(projection: name) }
    }
  }

  /// The shards that run while the rule holds the locks that cover them.
  func led(_ definitions: [ProjectionDefinition], _ rule: Leadership) -> [ProjectionDefinition] {
    switch self {
    case .shards: definitions.filter { rule.runs($0.shard) }
    case .database(let name, _): rule.runs(ShardName(projection: name)) ? definitions : []
    }
  }

  /// The shards that a lock covers, for the log.
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
