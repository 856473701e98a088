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
    _ row: RebuildTable.Row, _ book: PageBook, _ pool: SessionPool,
    _ body: @escaping @Sendable (RebuildWorker) async throws -> Void
  ) async throws {
    guard let declaration = definition.plugin else { return try await body(worker(row, book, pool)) }
    let plugin = makePlugin(declaration, for: definition.shard, of: database, mode: .rebuild, observer: observer)
    let pages = RebuildPages(shape, pool: pool, types: definition.takes, letters: book.letters)
    let projector = PluginProjector(
      definition: definition, declaration: declaration, plugin: plugin, shape: shape, node: node, pages: pages,
      book: book)
    let worker = worker(row, book, pool, RebuildPlugin(projector: projector, pages: pages))
    try await plugin.running { try await body(worker) }
  }

  func worker(
    _ row: RebuildTable.Row, _ book: PageBook, _ pool: SessionPool, _ plugin: RebuildPlugin? = nil
  ) -> RebuildWorker {
    RebuildWorker(
      definition, shape: shape, rebuild: row.id, book: book, pool: pool, policy: policy, node: node, observer: observer,
      plugin: plugin)
  }
}
