import PluginHost
import Books
import Plugins
import Postgres
import Rules

/// What a rebuild of a plugin has for itself: an instance that was greeted with mode `rebuild`, and what hands pages to it.
struct RebuildPlugin: Sendable {
  let projector: PluginProjector
  let pages: RebuildPages
}

extension RebuildRunner {
  /// Runs the body with a worker that moves one position of the rebuild, and, where the projection is a plugin, with its own instance of it.
  ///
  /// - Parameter pool: of one session, where it is a plugin.
  func withWorker(
    _ row: RebuildTable.Row, _ target: PageTarget, _ pool: SessionPool,
    _ body: @escaping @Sendable (RebuildWorker) async throws -> Void
  ) async throws {
    guard let declaration = definition.plugin else { return try await body(worker(row, target, pool)) }
    let plugin = makePlugin(
      declaration, for: definition.shard, of: context.database, mode: .rebuild, observer: observer)
    let pages = RebuildPages(shape, pool: pool, types: definition.takes, letters: target.letters)
    let projector = PluginProjector(context, declaration, plugin: plugin, pages: pages, target: target)
    let worker = worker(row, target, pool, RebuildPlugin(projector: projector, pages: pages))
    try await plugin.running { try await body(worker) }
  }

  func worker(
    _ row: RebuildTable.Row, _ target: PageTarget, _ pool: SessionPool, _ plugin: RebuildPlugin? = nil
  ) -> RebuildWorker {
    RebuildWorker(context, rebuild: row.id, target: target, pool: pool, plugin: plugin)
  }
}
