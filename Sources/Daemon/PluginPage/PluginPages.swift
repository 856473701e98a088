import Concurrency
import EventStore
import Postgres
import Rules

/// Where a plugin's pages are read, and the sessions on which their positions move: of a live shard, or of a rebuild.
///
/// A page is with the plugin between the two, and no session is. What was read before a crash of the server may be of events that the crash
/// has undone; so what is read carries the life of the server it was read in, and is committed in no other.
protocol PluginPages: Sendable {
  /// Whether reading begins the transaction that the page is committed in.
  var areBegun: Bool { get }
  /// Of what would be read now.
  var life: Int { get async }
  /// The sequence up to which pages may be read now; nil while that is not known.
  var end: Int64? { get async }

  /// The events after the page's floor up to its ceiling, or fewer.
  ///
  /// - Parameter parks: streams with dead letters are left out.
  func read(_ page: Page, parks: Bool) async throws -> EventFeed.Reading

  /// Runs the body on a session, once it is known that the life goes on.
  ///
  /// - Returns: false where it is over, and the body was not run.
  func commit(in life: Int, _ body: @Sendable (Session) async throws -> Void) async throws -> Bool
}

extension PluginPages {
  var areBegun: Bool { false }
}

/// Those of a live shard: up to the mark, and read once for all plugins that stand at the same place.
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

  func commit(in life: Int, _ body: @Sendable (Session) async throws -> Void) async throws -> Bool {
    try await pool.withSession(for: "\(shard)") { session in
      // The server has not crashed since the page was read: the agent of the mark has had one session all the time, and its newest proof
      // began after this session was there.
      guard try await mark(provenSince: session.openedAt).life == life else { return false }
      try await body(session)
      return true
    }
  }

  /// A page that was answered while the daemon stops is kept, if the mark that is there will do.
  private func mark(provenSince opening: ContinuousClock.Instant) async throws -> MarkBoard.Mark {
    if let mark = await marks.current, mark.provenAt >= opening { return mark }
    return try await stoppable { try await marks.mark { $0.provenAt >= opening } }
  }
}

/// Those of a rebuild: up to where the live shard stands, so nobody has to prove that they are settled.
///
/// All are read and committed on one session, for as long as it lives; it does not outlive a crash.
actor RebuildPages: PluginPages {
  private let blocks: EventBlocks
  private let pool: SessionPool
  private let types: Set<String>?
  /// Under which name the streams that are parked have their letters.
  private let letters: String
  private var opened: ContinuousClock.Instant?
  private var rows = BlockRows()

  private(set) var life = 0
  private(set) var end: Int64?

  /// - Parameter pool: of one session.
  init(_ shape: StoreShape, pool: SessionPool, types: [String]?, letters: String) {
    blocks = EventBlocks(shape)
    self.pool = pool
    self.types = types.map { Set($0) }
    self.letters = letters
  }

  /// From here on pages are read up to this sequence.
  func go(to target: Int64) { end = target }

  func read(_ page: Page, parks: Bool) async throws -> EventFeed.Reading {
    let request = EventBlocks.Request(
      page: page, types: types, parkedFor: parks ? letters : nil, rowLimit: rows.limit, byteLimit: EventFeed.hardBytes)
    let blocks = blocks
    let block = try await pool.withSession { session in
      try await blocks.read(request, life: await self.life(of: session), on: session)
    }
    rows.met(block)
    return .block(block)
  }

  func commit(in life: Int, _ body: @Sendable (Session) async throws -> Void) async throws -> Bool {
    try await pool.withSession { session in
      guard await self.life(of: session) == life else { return false }
      try await body(session)
      return true
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

/// How many rows a block may have so that it comes to about its bytes, guessed from the last one.
struct BlockRows: Sendable {
  private var bytesPerRow = 1_000

  var limit: Int {
    min(max(EventFeed.blockBytes / max(bytesPerRow, 1), EventFeed.rowLimits.lowerBound), EventFeed.rowLimits.upperBound)
  }

  mutating func met(_ block: EventBlock) { if block.count > 0 { bytesPerRow = block.size / block.count } }
}
