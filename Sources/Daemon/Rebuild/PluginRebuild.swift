import PluginHost
import Books
import Plugins
import Postgres
import Rules

/// A rebuild's own instance of a plugin, started with mode `rebuild`, and its pages.
struct RebuildPlugin: Sendable {
  let projector: PluginProjector
  let pages: RebuildPages
}

extension RebuildRunner {
  /// Runs the body with a worker that moves one position of the rebuild. If the projection is a plugin, the worker has its own instance.
  ///
  /// - Parameter pool: has one session if the projection is a plugin.
  func withWorker(
    _ row: RebuildTable.Row, _ target: PageTarget, _ pool: SessionPool,
    _ body: @escaping @Sendable (RebuildWorker) async throws -> Void
  ) async throws {
    guard let declaration = definition.plugin else { return try await body(worker(row, target, pool)) }
    let plugin = makePlugin(
      declaration, for: definition.shard, of: context.database, mode: .rebuild, observer: observer)
    let pages = RebuildPages(
      shape, pool: pool, types: definition.takes, archived: definition.archived, letters: target.letters)
    let projector = PluginProjector(pageContext(row), declaration, plugin: plugin, pages: pages, target: target)
    let worker = worker(row, target, pool, RebuildPlugin(projector: projector, pages: pages))
    try await plugin.running { try await body(worker) }
  }

  func worker(
    _ row: RebuildTable.Row, _ target: PageTarget, _ pool: SessionPool, _ plugin: RebuildPlugin? = nil
  ) -> RebuildWorker {
    RebuildWorker(pageContext(row), rebuild: row.id, target: target, pool: pool, plugin: plugin)
  }
}
