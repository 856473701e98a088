import Books
import EventStore
import PluginHost
import Plugins
package import Postgres
import Rules

/// The event of one dead letter as a page: applied like every page, in one transaction with the removal of the letter.
package struct LetterPage: Sendable {
  private let context: ShardContext
  private let page: Page
  private let target: PageTarget

  /// Skips nothing and retries nothing: the operator who replays a letter sees its outcome.
  private static let policy = FailurePolicy(rules: [FailureRule(actions: [.stop])])

  package init(_ sequence: Int64, _ context: ShardContext) {
    self.context = context
    page = Page(floor: sequence - 1, ceiling: sequence)
    target = .letter(
      shard: "\(context.name)", inOrder: context.definition.onPoison == .parkStream, in: context.shape)
  }

  /// - Throws: ``PageTarget/Refusal`` if the letter stays unchanged; ``PageFailure`` if its event failed again; `Problem` if the plugin
  ///   does not start.
  package func apply(on session: Session) async throws {
    guard let declaration = context.definition.plugin else {
      return try await run(SQLPages(context: context, target: target, sessions: .one(session)))
    }
    let plugin = makePlugin(declaration, for: context.name, of: context.database, observer: context.observer)
    try await plugin.running { [self] in
      // Before the transaction, so that no transaction waits for a program to start.
      try await plugin.prepare(position: page.floor)
      let pages = LetterPages(
        blocks: EventBlocks(context.shape), session: session, target: target, types: context.definition.takes,
        archived: context.definition.archived)
      do {
        // The transaction waits for the plugin.
        try await session.bearing { [self] in
          try await run(PluginProjector(context, declaration, plugin: plugin, pages: pages, target: target))
        }
      } catch {
        await session.rollBack()
        throw error
      }
    }
  }

  private func run(_ applier: any PageApplier) async throws {
    do {
      _ = try await applier.apply(page, .whole, policy: Self.policy, chains: [])
    } catch let failure as PageFailure {
      throw failure.concealed(by: context.definition.concealment)
    }
  }
}

/// Reads the event of one letter. It takes the letter before the plugin gets the event, so that no other replay hands it over meanwhile;
/// the transaction waits for the plugin.
private struct LetterPages: PluginPages {
  let blocks: EventBlocks
  let session: Session
  let target: PageTarget
  let types: [String]?
  let archived: Archived

  var areBegun: Bool { true }
  var life: Int { 0 }
  var end: Int64? { nil }

  func read(_ page: Page, parks: Bool) async throws -> EventFeed.Reading {
    try await session.script("BEGIN ISOLATION LEVEL READ COMMITTED")
    let begun = try await session.pipeline(
      target.begin(floor: page.floor, ceiling: page.ceiling, types: types, archived: archived))
    try target.check(begun)
    let block = try await blocks.shown(page, on: session)
    guard block.count == 1 else { throw PageTarget.Refusal.nothingToApply }
    return .block(block)
  }

  func commit<T: Sendable>(in life: Int, _ body: @Sendable (Session) async throws -> T) async throws -> T? {
    try await body(session)
  }
}
