package import EventStore
package import Rules
package import Telemetry

/// What all code that works on one shard needs: the declaration, the store, the failure policy, and the observer.
package struct ShardContext: Sendable {
  package var definition: ProjectionDefinition
  package var shape: StoreShape
  /// Returns the failure policy now in effect.
  package var policy: @Sendable () async -> FailurePolicy
  package var node: String
  package var observer: any Observer
  /// The name of the database, for plugins.
  package var database: String

  package init(
    _ definition: ProjectionDefinition, shape: StoreShape, policy: @escaping @Sendable () async -> FailurePolicy,
    node: String, observer: any Observer, database: String = "main"
  ) {
    self.definition = definition
    self.shape = shape
    self.policy = policy
    self.node = node
    self.observer = observer
    self.database = database
  }

  package var name: ShardName { definition.shard }
}
