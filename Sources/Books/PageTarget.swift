package import EventStore
package import Postgres
package import Rules

/// The target of a page: the position it moves, and the statements that this adds to its transaction.
package enum PageTarget: Sendable, Hashable {
  /// The live position of a shard, in the progression.
  case live(shard: String)
  /// The position of one worker of a rebuild, which fills the tables in `schema` and must leave `originals` alone.
  case rebuild(id: Int64, worker: Int, shard: String, schema: String, originals: [Int64])
  /// A dead letter, which is removed in the transaction that applies its event; the position stays.
  ///
  /// - Parameter inOrder: only if no earlier letter of its stream is left.
  case letter(shard: String, inOrder: Bool, in: StoreShape)

  /// Why a letter is not replayed.
  package enum Refusal: Error, Sendable, Hashable {
    /// Another replay took it, an earlier one of its stream must go first, or a page will apply its event.
    case notTaken
    /// The event is archived, or the projection takes no event of its type.
    case nothingToApply
  }

  /// The shard name under which the page's dead letters are kept.
  package var letters: String {
    switch self {
    case .live(let shard), .letter(let shard, _, _): shard
    case .rebuild(_, _, let shard, _, _): Self.letters(ofRebuildOf: shard)
    }
  }

  package static func letters(ofRebuildOf shard: String) -> String { "\(shard) (rebuild)" }

  /// Whether letters with this shard name are those of a rebuild.
  static func isRebuild(letters: String) -> Bool { letters.hasSuffix(" (rebuild)") }

  package var isLetter: Bool { if case .letter = self { true } else { false } }

  /// - Parameters:
  ///   - archived: what becomes of events that are archived by now.
  ///   - durable: the commit of a live position must be on disk when it returns, because external effects cannot be undone.
  package func begin(
    floor: Int64, ceiling: Int64, types: [String]?, archived: Archived = .keep, durable: Bool = false
  ) -> [SQL] {
    let begin: [SQL] =
      switch self {
      case .live(let shard):
        ["SELECT tidemark_internal.begin_page(\(shard), \(floor), \(ceiling), \(types), \(durable))"]
      case .rebuild(let id, let worker, _, _, _):
        ["SELECT tidemark_internal.begin_rebuild_page(\(id), \(worker)::integer, \(floor), \(ceiling), \(types))"]
      case .letter(let shard, let inOrder, let shape):
        DeadLetters(shape).take(ceiling, shard: shard, inOrder: inOrder, types: types)
      }
    return begin + archived.settings
  }

  /// - Parameter results: of the statements of ``begin(floor:ceiling:types:archived:durable:)``.
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

  /// The last statements before COMMIT.
  ///
  /// - Parameters:
  ///   - floor: the position before the page.
  ///   - maySkip: whether flags in the store may hide events from the page; a live shard counts these.
  ///   - ignored: events that failed and were ignored; a live shard counts these too.
  package func end(after floor: Int64, maySkip: Bool, ignored: [Int64] = []) -> [SQL] {
    switch self {
    case .live(let shard):
      (maySkip ? ["SELECT tidemark_internal.count_skipped(\(shard), \(floor))"] : [])
        + SkippedEvents.count(ignored: ignored, shard: shard)
    case .letter(let shard, _, let shape): LetterDocuments(shape).remove([floor + 1], shard: shard)
    case .rebuild(_, _, _, let schema, let originals):
      ["SELECT tidemark_internal.refuse_strays(\(schema), \(originals)::bigint[]::oid[])"]
    }
  }
}
