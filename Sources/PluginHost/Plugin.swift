import Concurrency
package import Plugins
package import Rules
package import Telemetry

/// A plugin as its shard sees it: something that is handed pages, one at a time, and answers.
///
/// It runs beside the shard's agent, from before the first page until it is told to end. Whatever it does, it can only fail to answer: the
/// position is the agent's.
package protocol Plugin: Sendable {
  /// Runs for as long as the shard does: starts the plugin when it is asked to, and returns once it has ended for good.
  func run() async throws

  /// Has the plugin running and willing, where it is not yet.
  ///
  /// - Parameter position: of the shard.
  /// - Throws: ``Problem``.
  func prepare(position: Int64) async throws

  /// Hands over a page and waits for its answer, for at most the plugin's timeout.
  ///
  /// - Throws: ``Problem``; `CancellationError` when the task is cancelled, or when the daemon has been stopping for longer than
  ///   ``PluginPatience/afterStop``.
  func apply(_ slice: EventSlice) async throws -> PluginAnswer

  /// Ends it for now, between two pages: the next one finds it started anew, and greeted with the position as it is then.
  func standDown() async

  /// Ends it: what it holds is written, then it is gone.
  func end() async
}

extension Plugin {
  /// Runs the plugin around the body, and ends it.
  package func running<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T {
    try await withThrowingTaskGroup(of: T?.self) { group in
      group.addTask {
        try await run()
        return nil
      }
      group.addTask {
        do {
          let value = try await body()
          await end()
          return value
        } catch {
          await end()
          throw error
        }
      }
      var value: T?
      for try await ended in group { value = ended ?? value }
      guard let value else { throw CancellationError() }
      return value
    }
  }
}

/// The plugin of a declaration, not running yet.
package func makePlugin(
  _ declaration: PluginDefinition, for shard: ShardName, of database: String = "main",
  mode: PluginLines.Mode = .continuous, observer: any Observer
) -> any Plugin {
  switch declaration.program {
  case .exec: ExecPlugin(shard: shard, plugin: declaration, database: database, mode: mode, observer: observer)
  case .library: LibraryPlugin(shard: shard, plugin: declaration, database: database, mode: mode, observer: observer)
  }
}
