import Concurrency
package import EventStore
package import Postgres
import Rules

/// Reads pages of events for the plugin shards of one database, each page once for all shards at the same position.
///
/// A block lives as long as a shard holds it; the feed itself holds none. A second shard waits for a read that is running. If shards take
/// different types, the feed reads the types of all shards at that position.
package actor EventFeed {
  private let blocks: EventBlocks
  private let pool: SessionPool
  private let marks: MarkBoard

  /// About the bytes of one block; a larger event is a block of its own.
  package static let blockBytes = 4 << 20
  /// The most bytes of a block whose events are larger than those before it.
  package static let hardBytes = 2 * blockBytes
  static let rowLimits = 1_000...100_000

  /// A shard's position, and its next one; both nil before its first page.
  private struct Place {
    var floor: Int64?
    var next: Int64?
    var types: Set<String>?
    var archived = Archived.keep

    func isAt(_ floor: Int64) -> Bool { self.floor == nil || self.floor == floor || next == floor }
  }
  private var places: [ShardName: Place] = [:]
  private var kept: [Int64: Kept] = [:]
  private var flights: [Int: Flight] = [:]
  private var lastNumber = 0
  private var rows = BlockRows()

  private struct Kept { weak var block: EventBlock? }

  /// A running read.
  private struct Flight {
    var floor: Int64
    var types: Set<String>?
    let waiters = Waiters<Void, EventBlock?>()
  }

  /// The outcome of a read.
  enum Reading: Sendable {
    case block(EventBlock)
    /// The mark of this life of the server is lower than the requested ceiling.
    case beyond(mark: Int64)
  }

  package init(shape: StoreShape, pool: SessionPool, marks: MarkBoard) {
    blocks = EventBlocks(shape)
    self.pool = pool
    self.marks = marks
  }

  /// Adds a shard: from now on the feed reads its types at its position.
  func join(_ shard: ShardName, types: [String]?, archived: Archived) {
    places[shard] = Place(types: types.map { Set($0) }, archived: archived)
  }

  func leave(_ shard: ShardName) { places[shard] = nil }

  /// Forgets what was read: the numbers of the store mean other events now. A block that a shard still holds is of an earlier life of the
  /// mark, in which it commits nothing any more.
  package func forget() {
    kept = [:]
    for shard in places.keys {
      places[shard]?.floor = nil
      places[shard]?.next = nil
    }
  }

  /// Reads the events after a floor, up to a ceiling that the mark has reached, or fewer.
  ///
  /// - Parameter parks: leaves out the shard's parked streams; no other shard uses such a block.
  func read(_ page: Page, for shard: ShardName, parks: Bool) async throws -> Reading {
    let reading = try await find(page, for: shard, parks: parks)
    if case .block(let block) = reading { places[shard]?.next = block.page.ceiling }
    return reading
  }

  private func find(_ page: Page, for shard: ShardName, parks: Bool) async throws -> Reading {
    let types = places[shard].flatMap(\.types)
    places[shard]?.floor = page.floor
    // A block without some events is for one shard alone.
    guard !parks, places[shard]?.archived != .skip else {
      return try await load(page, types, for: shard, parkedFor: parks ? "\(shard)" : nil)
    }
    let life = await marks.life
    if let block = kept[page.floor]?.block, block.life == life, Self.covers(block.types, types) { return .block(block) }
    if let flight = flights.first(where: { $0.value.floor == page.floor && Self.covers($0.value.types, types) }) {
      if let block = try await flight.value.waiters.wait(), block.life == life { return .block(block) }
    }
    return try await readForAll(page, types, for: shard)
  }

  private func readForAll(_ page: Page, _ own: Set<String>?, for shard: ShardName) async throws -> Reading {
    var types = own
    for place in places.values where place.archived == .keep && place.isAt(page.floor) {
      types = types.flatMap { mine in place.types.map { mine.union($0) } }
    }
    lastNumber += 1
    let flight = lastNumber
    flights[flight] = Flight(floor: page.floor, types: types)
    let reading: Reading
    do {
      reading = try await load(page, types, for: shard, parkedFor: nil)
    } catch {
      land(flight, nil)
      throw error
    }
    kept = kept.filter { $0.value.block != nil }
    guard case .block(let block) = reading else {
      land(flight, nil)
      return reading
    }
    // Of two blocks, the one with more types serves more shards.
    if let held = kept[page.floor]?.block, held.life == block.life, Self.covers(held.types, types) {
      land(flight, held)
      return .block(held)
    }
    kept[page.floor] = Kept(block: block)
    land(flight, block)
    return reading
  }

  private func load(
    _ page: Page, _ types: Set<String>?, for shard: ShardName, parkedFor: String?
  ) async throws -> Reading {
    let request = EventBlocks.Request(
      page: page, types: types, parkedFor: parkedFor, archived: places[shard]?.archived ?? .keep,
      rowLimit: rows.limit, byteLimit: Self.hardBytes)
    let (blocks, marks) = (blocks, marks)
    let reading: Reading = try await pool.withSession(for: "\(shard)", unlessStopped: true) { session in
      let mark = try await marks.proven(on: session)
      guard mark.sequence >= page.ceiling else { return .beyond(mark: mark.sequence) }
      return .block(try await blocks.read(request, life: mark.life, on: session))
    }
    if case .block(let block) = reading { rows.met(block) }
    return reading
  }

  private static func covers(_ types: Set<String>?, _ wanted: Set<String>?) -> Bool {
    guard let types else { return true }
    return wanted.map { $0.isSubset(of: types) } ?? false
  }

  /// Gives the block to the other shards that waited for the read.
  private func land(_ flight: Int, _ block: EventBlock?) { flights.removeValue(forKey: flight)?.waiters.tell(block) }
}
