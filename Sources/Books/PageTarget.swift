package import EventStore
package import Postgres

/// What a page is applied to: which position it moves, and what else its transaction has to say for that.
package enum PageTarget: Sendable, Hashable {
  /// The live position of a shard, in the progression.
  case live(shard: String)
  /// The position of one worker of a rebuild, which fills the tables in `schema` and must leave `originals` alone.
  case rebuild(id: Int64, worker: Int, shard: String, schema: String, originals: [Int64])
  /// A dead letter, which is taken out with the effect of its event; the position stays.
  ///
  /// - Parameter inOrder: only where no earlier letter of its stream is left.
  case letter(shard: String, inOrder: Bool, in: StoreShape)

  /// Why a letter is not replayed.
  package enum Refusal: Error, Sendable, Hashable {
    /// Another replay took it, an earlier one of its stream has to go first, or a page will meet its event.
    case notTaken
    /// The event is archived, or the projection takes no event of its type.
    case nothingToApply
  }

  /// Under which name the page's dead letters are kept.
  package var letters: String {
    switch self {
    case .live(let shard), .letter(let shard, _, _): shard
    case .rebuild(_, _, let shard, _, _): Self.letters(ofRebuildOf: shard)
    }
  }

  package static func letters(ofRebuildOf shard: String) -> String { "\(shard) (rebuild)" }

  package var isLetter: Bool { if case .letter = self { true } else { false } }

  /// - Parameter durable: the commit of a live position is on disk when it returns, as what left the database cannot be taken back.
  package func begin(floor: Int64, ceiling: Int64, types: [String]?, durable: Bool = false) -> [SQL] {
    switch self {
    case .live(let shard):
      ["SELECT tidemark_internal.begin_page(\(shard), \(floor), \(ceiling), \(types), \(durable))"]
    case .rebuild(let id, let worker, _, _, _):
      ["SELECT tidemark_internal.begin_rebuild_page(\(id), \(worker)::integer, \(floor), \(ceiling), \(types))"]
    case .letter(let shard, let inOrder, let shape):
      DeadLetters(shape).take(ceiling, shard: shard, inOrder: inOrder, types: types)
    }
  }

  /// - Parameter results: of what ``begin(floor:ceiling:types:durable:)`` gave.
  /// - Throws: ``Refusal``.
  package func check(_ results: some Collection<ResultSet>) throws(Refusal) {
    switch self {
    case .live, .rebuild: break
    case .letter: if !DeadLetters.hasTaken(results) { throw .notTaken }
    }
  }

  package func cut(ceiling: Int64) -> SQL {
    switch self {
    case .live(let shard): "SELECT tidemark_internal.cut_page(\(shard), \(ceiling))"
    case .rebuild(let id, let worker, _, _, _):
      "SELECT tidemark_internal.cut_rebuild_page(\(id), \(worker)::integer, \(letters), \(ceiling))"
    case .letter: preconditionFailure("a page of one event is not cut")
    }
  }

  /// What comes last before COMMIT.
  package var end: [SQL] {
    switch self {
    case .live, .letter: []
    case .rebuild(_, _, _, let schema, let originals):
      ["SELECT tidemark_internal.refuse_strays(\(schema), \(originals)::bigint[]::oid[])"]
    }
  }
}
