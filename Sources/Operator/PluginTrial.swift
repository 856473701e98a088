import PluginHost
import Daemon
package import EventStore
package import Plugins
package import Postgres
package import Rules
package import Telemetry

/// Runs a plugin on real events, without moving a position and without applying the statements of its answers.
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

  /// What the plugin did.
  package enum Step: Sendable {
    case ready(in: Duration)
    case page(Page, events: Int)
    case answer(PluginAnswer, in: Duration)
  }

  /// Hands over the first `limit` events from a sequence on, page by page; after a failed event, the rest of its page.
  ///
  /// - Throws: ``Problem`` if the plugin does not start, does not answer, or answers wrongly.
  package func run(
    from sequence: Int64, limit: Int, _ session: Session, observer: any Observer,
    tell: @escaping @Sendable (Step) -> Void
  ) async throws {
    let highest = try await HighWaterReads(shape).numbers(session).highestVisible
    let all = Page(floor: sequence - 1, ceiling: max(sequence - 1, highest))
    let running = makePlugin(plugin, for: ShardName(projection: "Try"), observer: observer)
    try await running.running {
      let began = ContinuousClock.now
      try await running.prepare(position: all.floor)
      tell(.ready(in: ContinuousClock.now - began))
      var (floor, left) = (all.floor, limit)
      while floor < all.ceiling, left > 0 {
        let request = EventBlocks.Request(
          page: Page(floor: floor, ceiling: all.ceiling), types: types.map { Set($0) }, rowLimit: left,
          byteLimit: EventFeed.hardBytes)
        let block = try await EventBlocks(shape).read(request, life: 0, on: session)
        try await run(EventSlice(block, types: nil), running, tell)
        (floor, left) = (block.page.ceiling, left - block.count)
      }
    }
  }

  private func run(_ all: EventSlice, _ running: any Plugin, _ tell: (Step) -> Void) async throws {
    var rest: EventSlice? = all
    while let slice = rest, slice.count > 0 {
      tell(.page(slice.page, events: slice.count))
      let began = ContinuousClock.now
      let answer = try await answer(to: slice, running)
      tell(.answer(answer, in: ContinuousClock.now - began))
      switch answer {
      case .applied: rest = nil
      case .failed(let failure): rest = slice.after(failure.sequence)
      }
    }
  }

  private func answer(to slice: EventSlice, _ running: any Plugin) async throws -> PluginAnswer {
    guard let tooLarge = plugin.tooLarge(slice), let sequence = slice.firstSequence else {
      return try await running.apply(slice)
    }
    return .failed(PluginFailure(sequence: sequence, kind: .event, message: tooLarge.failure.message))
  }
}
