import Concurrency
package import Plugins
package import Rules
package import Telemetry

/// A plugin as its shard sees it: the shard hands over pages, one at a time, and the plugin answers.
///
/// It runs beside the shard's agent, from before the first page until ``end()``. The worst it can do is not to answer: only the agent moves
/// the position.
package protocol Plugin: Sendable {
  /// Runs as long as the shard: starts the plugin on request, and returns after ``end()``.
  func run() async throws

  /// Starts the plugin if it does not run, and waits until it is ready.
  ///
  /// - Parameter position: of the shard.
  /// - Throws: ``Problem``.
  func prepare(position: Int64) async throws

  /// Hands over a page and waits for the answer, for at most the plugin's timeout.
  ///
  /// - Throws: ``Problem``; `CancellationError` when the task is cancelled, or when the daemon has been stopping for longer than
  ///   ``PluginPatience/afterStop``.
  func apply(_ slice: EventSlice) async throws -> PluginAnswer

  /// Ends the plugin between two pages; the next page starts it again, with the position of that moment.
  func standDown() async

  /// Ends the plugin for good, and gives it time to write what it holds.
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

/// Makes the plugin of a declaration; it does not run yet.
package func makePlugin(
  _ declaration: PluginDefinition, for shard: ShardName, of database: String = "main",
  mode: PluginLines.Mode = .continuous, observer: any Observer
) -> any Plugin {
  switch declaration.program {
  case .exec: ExecPlugin(shard: shard, plugin: declaration, database: database, mode: mode, observer: observer)
  case .library: LibraryPlugin(shard: shard, plugin: declaration, database: database, mode: mode, observer: observer)
  }
}
