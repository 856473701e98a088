import PluginHost
import Books
import Concurrency
import Plugins
import Postgres
import Rules
import Telemetry

extension ShardAgent {
  /// Runs a shard whose projection is a plugin: the same agent, with the plugin running beside it from the first page to the last.
  func run(_ declaration: PluginDefinition) async throws {
    let plugin = makePlugin(declaration, for: name, of: context.database, observer: observer)
    var agent = self
    agent.plugin = PluginProjector(
      context, declaration, plugin: plugin, pages: LivePages(shard: name, feed: feed, pool: pool, marks: marks),
      target: .live(shard: "\(name)"))
    let (running, feed) = (agent, feed)
    await feed.join(name, types: context.definition.takes, archived: context.definition.archived)
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

  /// Lets an interrupted rebuild that replays every event into the plugin continue before the live shard does: the plugin must get the
  /// rebuild's events first, with mode `rebuild`.
  ///
  /// - Returns: false if the shard's revision changed first.
  func letRebuildGoFirst(unless revision: Halts.Revision) async throws -> Bool {
    while try await isBehindRebuild() {
      await health.set(name, state: .stopped, reason: "by \(Halt.Source.rebuild)", position: nil)
      let hasWaited: Void? = try await unlessRevised(revision) { try await Task.sleep(for: .milliseconds(200)) }
      guard hasWaited != nil else { return false }
    }
    return true
  }

  private func isBehindRebuild() async throws -> Bool {
    try await pool.withSession(for: "\(name)", unlessStopped: true) { [name] session in
      guard let row = try await RebuildTable().read("\(name)", session), row.state.isOpen,
        row.request.way == .inPlace || row.chosenWay == .replay
      else { return false }
      // A rebuild that a command runs continues only when it is requested again; no shard waits for that.
      return row.byNode ? true : try await RebuildLock.isHeld("\(name)", session)
    }
  }
}
