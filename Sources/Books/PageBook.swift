package import Postgres

/// Which position a page moves, and what else its transaction has to say for that.
package enum PageBook: Sendable, Hashable {
  /// The live position of a shard, in the progression.
  case live(shard: String)
  /// The position of one worker of a rebuild, which fills the tables in `schema` and must leave `originals` alone.
  case rebuild(id: Int64, worker: Int, shard: String, schema: String, originals: [Int64])

  /// Under which name the page's dead letters are kept.
  package var letters: String {
    switch self {
    case .live(let shard): shard
    case .rebuild(_, _, let shard, _, _): Self.letters(ofRebuildOf: shard)
    }
  }

  package static func letters(ofRebuildOf shard: String) -> String { "\(shard) (rebuild)" }

  /// - Parameter durable: the commit of a live position is on disk when it returns, as what left the database cannot be taken back.
  package func begin(floor: Int64, ceiling: Int64, types: [String]?, durable: Bool = false) -> SQL {
    switch self {
    case .live(let shard): beginPage(shard, floor: floor, ceiling: ceiling, types: types, durable: durable)
    case .rebuild(let id, let worker, _, _, _):
      "SELECT tidemark_internal.begin_rebuild_page(\(id), \(worker)::integer, \(floor), \(ceiling), \(types))"
    }
  }

  package func cut(ceiling: Int64) -> SQL {
    switch self {
    case .live(let shard): cutPage(shard, ceiling: ceiling)
    case .rebuild(let id, let worker, _, _, _):
      "SELECT tidemark_internal.cut_rebuild_page(\(id), \(worker)::integer, \(letters), \(ceiling))"
    }
  }

  /// What comes last before COMMIT.
  package var end: [SQL] {
    switch self {
    case .live: []
    case .rebuild(_, _, _, let schema, let originals):
      ["SELECT tidemark_internal.refuse_strays(\(schema), \(originals)::bigint[]::oid[])"]
    }
  }
}

/// What a page does first in its transaction: the compare-and-swap, and the settings `tidemark.batch` reads.
package func beginPage(
  _ shard: String, floor: Int64, ceiling: Int64, types: [String]?, durable: Bool
) -> SQL {
  "SELECT tidemark_internal.begin_page(\(shard), \(floor), \(ceiling), \(types), \(durable))"
}

/// Ends the page under way at a lower ceiling.
package func cutPage(_ shard: String, ceiling: Int64) -> SQL {
  "SELECT tidemark_internal.cut_page(\(shard), \(ceiling))"
}
