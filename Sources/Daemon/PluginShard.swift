import Projection
import Telemetry

extension ShardAgent {
  /// Runs a shard whose projection is a plugin: the same agent, with the plugin beside it from the first page to the last.
  func run(_ declaration: PluginDefinition) async throws {
    let plugin = makePlugin(declaration, for: name, of: database, observer: observer)
    var agent = self
    agent.plugin = PluginProjector(
      definition: definition, declaration: declaration, plugin: plugin, shape: shape, node: node, feed: feed,
      pool: pool,
      marks: marks)
    let (running, feed) = (agent, feed)
    await feed.join(name, types: definition.takes)
    let outcome: Result<Void, any Error>
    do {
      try await plugin.running { try await running.run() }
      outcome = .success(())
    } catch {
      outcome = .failure(error)
    }
    await feed.leave(name)
    try outcome.get()
  }
}

/// The plugin of a declaration, not running yet.
func makePlugin(
  _ declaration: PluginDefinition, for shard: ShardName, of database: String = "main", observer: any Observer
) -> any Plugin {
  switch declaration.program {
  case .exec: ExecPlugin(shard: shard, plugin: declaration, database: database, observer: observer)
  case .library: LibraryPlugin(shard: shard, plugin: declaration, database: database, observer: observer)
  }
}
