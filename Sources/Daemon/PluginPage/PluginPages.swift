import Concurrency
import EventStore
import Postgres
import Rules

/// Reads a plugin's pages and provides the sessions on which their positions move, for a live shard or a rebuild.
///
/// Between the two the plugin has the page, and no session is in use. A crash of the server may undo events that were read before it, so a
/// block carries the life of the server it was read in, and is committed only in that life.
protocol PluginPages: Sendable {
  /// Whether reading a page begins the transaction that commits it.
  var areBegun: Bool { get }
  /// The life of the server in which a page would be read now.
  var life: Int { get async }
  /// The sequence up to which pages may be read now; nil while it is unknown.
  var end: Int64? { get async }

  /// Reads the events after the page's floor up to its ceiling, or fewer.
  ///
  /// - Parameter parks: leaves out streams with dead letters.
  func read(_ page: Page, parks: Bool) async throws -> EventFeed.Reading

  /// Runs the body on a session if the life of the server still lasts.
  ///
  /// - Returns: nil if it has ended; the body did not run.
  func commit<T: Sendable>(in life: Int, _ body: @Sendable (Session) async throws -> T) async throws -> T?
}

extension PluginPages {
  var areBegun: Bool { false }
}

/// The pages of a live shard: up to the mark, read once for all plugins at the same position.
struct LivePages: PluginPages {
  let shard: ShardName
  let feed: EventFeed
  let pool: SessionPool
  let marks: MarkBoard

  var life: Int { get async { await marks.life } }
  var end: Int64? { get async { await marks.current?.sequence } }

  func read(_ page: Page, parks: Bool) async throws -> EventFeed.Reading {
    try await feed.read(page, for: shard, parks: parks)
  }

  func commit<T: Sendable>(in life: Int, _ body: @Sendable (Session) async throws -> T) async throws -> T? {
    try await pool.withPageSession(for: "\(shard)") { session in
      // The server has not crashed since the page was read: the high-water agent has kept its session, and its newest proof began after
      // this session was opened.
      guard try await mark(provenSince: session.openedAt).life == life else { return nil }
      return try await body(session)
    }
  }

  /// Uses the current mark if it suffices, so that a page that was answered while the daemon stops is kept.
  private func mark(provenSince opening: ContinuousClock.Instant) async throws -> MarkBoard.Mark {
    if let mark = await marks.current, mark.provenAt >= opening { return mark }
    return try await stoppable { try await marks.mark { $0.provenAt >= opening } }
  }
}

/// The pages of a rebuild: up to the live shard's position, where every number is settled.
///
/// All are read and committed on one session; a crash of the server ends it.
actor RebuildPages: PluginPages {
  private let blocks: EventBlocks
  private let pool: SessionPool
  private let types: Set<String>?
  /// The name under which the letters of parked streams are kept.
  private let letters: String
  private let archived: Archived
  private var opened: ContinuousClock.Instant?
  private var rows = BlockRows()

  private(set) var life = 0
  private(set) var end: Int64?

  /// - Parameter pool: has one session.
  init(_ shape: StoreShape, pool: SessionPool, types: [String]?, archived: Archived, letters: String) {
    blocks = EventBlocks(shape)
    self.pool = pool
    self.types = types.map { Set($0) }
    self.letters = letters
    self.archived = archived
  }

  /// Allows reading pages up to this sequence.
  func go(to target: Int64) { end = target }

  func read(_ page: Page, parks: Bool) async throws -> EventFeed.Reading {
    let request = EventBlocks.Request(
      page: page, types: types, parkedFor: parks ? letters : nil, archived: archived, rowLimit: rows.limit,
      byteLimit: EventFeed.hardBytes)
    let blocks = blocks
    let block = try await pool.withSession { session in
      try await blocks.read(request, life: await self.life(of: session), on: session)
    }
    rows.met(block)
    return .block(block)
  }

  func commit<T: Sendable>(in life: Int, _ body: @Sendable (Session) async throws -> T) async throws -> T? {
    // A new session is another life: the page is then read, and handed over, again.
    try await pool.withPageSession(for: letters) { session in
      guard await self.life(of: session) == life else { return nil }
      return try await body(session)
    }
  }

  private func life(of session: Session) -> Int {
    if session.openedAt != opened {
      opened = session.openedAt
      life += 1
    }
    return life
  }
}

/// The row limit that makes a block about ``EventFeed/blockBytes`` long, estimated from the last block.
struct BlockRows: Sendable {
  private var bytesPerRow = 1_000

  var limit: Int {
    min(max(EventFeed.blockBytes / max(bytesPerRow, 1), EventFeed.rowLimits.lowerBound), EventFeed.rowLimits.upperBound)
  }

  mutating func met(_ block: EventBlock) { if block.count > 0 { bytesPerRow = block.size / block.count } }
}
