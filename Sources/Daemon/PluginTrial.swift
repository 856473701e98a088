package import EventStore
package import Plugins
package import Postgres
package import Projection
package import Telemetry

/// Runs a plugin over real events, without a position to move and without applying what it answers.
package struct PluginTrial: Sendable {
  package let shape: StoreShape
  package let plugin: PluginDefinition
  /// Nil is every type.
  package var types: [String]?

  package init(shape: StoreShape, plugin: PluginDefinition, types: [String]? = nil) {
    self.shape = shape
    self.plugin = plugin
    self.types = types
  }

  /// What the plugin did with a page.
  package enum Step: Sendable {
    case ready(in: Duration)
    case page(Page, events: Int)
    case answer(PluginAnswer, in: Duration)
  }

  /// Hands over the first `limit` events from a sequence on, one page, and what is left of it after each that failed.
  ///
  /// - Throws: ``PluginProblem`` where the plugin does not do its part.
  package func run(
    from sequence: Int64, limit: Int, _ session: Session, observer: any Observer,
    tell: @escaping @Sendable (Step) -> Void
  ) async throws {
    let highest = try await HighWaterReads(shape).numbers(session).highestVisible
    let page = Page(floor: sequence - 1, ceiling: max(sequence - 1, highest))
    let request = EventBlocks.Request(
      page: page, types: types.map { Set($0) }, rowLimit: limit, byteLimit: EventFeed.hardBytes)
    let block = try await EventBlocks(shape).read(request, life: 0, on: session)
    let running = makePlugin(plugin, for: ShardName(projection: "Try"), observer: observer)
    try await running.running {
      let began = ContinuousClock.now
      try await running.prepare(position: page.floor)
      tell(.ready(in: ContinuousClock.now - began))
      var rest: EventSlice? = EventSlice(block, types: nil)
      while let slice = rest, slice.count > 0 {
        tell(.page(slice.page, events: slice.count))
        let began = ContinuousClock.now
        let answer = try await running.apply(slice)
        tell(.answer(answer, in: ContinuousClock.now - began))
        switch answer {
        case .applied: rest = nil
        case .failed(let failure): rest = slice.after(failure.sequence)
        }
      }
    }
  }
}
