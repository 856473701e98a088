/// Whether a shard's position and its tables belong together: judged before the shard applies a page.
///
/// A position says which events the rows of the tables already contain. The two meet only by names, and names change: a projection is
/// renamed, a table is created again, a position is deleted or written by another program. Pages that begin at the wrong position count
/// events twice, or leave them out of the read model, and every later page succeeds.
package struct Belonging: Sendable, Hashable {
  /// A declared table that exists.
  package struct Table: Sendable, Hashable {
    package var name: String
    package var hasRows: Bool
    /// Another table had this name when the shard last began.
    package var isOther: Bool

    package init(_ name: String, hasRows: Bool, isOther: Bool = false) {
      self.name = name
      self.hasRows = hasRows
      self.isOther = isOther
    }
  }

  /// Another shard with a position.
  package struct Other: Sendable, Hashable {
    package var shard: String
    package var position: Int64
    /// The table of this projection that it fills; nil if it fills none of them.
    package var table: String?

    package init(_ shard: String, at position: Int64, fills table: String? = nil) {
      self.shard = shard
      self.position = position
      self.table = table
    }
  }

  package enum Verdict: Sendable, Hashable {
    case fits
    /// The shard begins, and an operator should know.
    case doubtful(Problem)
    /// The shard waits.
    case wait(Problem)
  }

  private let shard: String
  private let projection: String
  private let start: StartPosition
  private let isTold: Bool
  private let addsRows: Bool
  private let hint: String

  package init(_ definition: ProjectionDefinition) {
    shard = "\(definition.shard)"
    projection = definition.name
    start = definition.start
    isTold = definition.onMismatch == .continue
    addsRows = definition.addsRows
    hint = "\(definition.settingsKey).on_mismatch = \"continue\""
  }

  /// For a shard without a position.
  ///
  /// - Parameters:
  ///   - first: where it would begin; nil if that is not known yet.
  ///   - tables: of the projection.
  ///   - fillers: other shards that fill one of them.
  ///   - continuity: what is on record of its position.
  ///   - namesakes: shards that did the same work under a name that the settings no longer declare; for a projection without tables.
  package func ofNew(
    at first: Int64?, _ tables: [Table], fillers: [Other], namesakes: [Other], continuity: Continuity = .new
  ) -> Verdict {
    guard !isTold else { return .fits }
    if case .gone(let left) = continuity, left > 0, tables.isEmpty || tables.contains(where: \.hasRows) {
      return .wait(
        Problem(
          .store(.moved), "\(shard) has no position, and Tidemark left it at \(left): another program deleted it",
          hint:
            "`tidemark start \(shard) --from-record` continues at \(left), where its tables are. `tidemark rebuild \(projection)` fills them again. To begin with its first event, empty them and run `tidemark start \(shard) --from-here`."
        ))
    }
    if case .stale = continuity, tables.isEmpty || tables.contains(where: \.hasRows) {
      let rows =
        tables.first(where: \.hasRows).map { "its table \($0.name) has rows" } ?? "what it wrote may still be there"
      let emptying = tables.isEmpty ? "" : " If its tables are emptied, it begins by itself."
      return .wait(
        problem(
          "the event store began anew, and \(rows) of events that are gone: \(shard) does not add to them",
          "Run `tidemark rebuild \(projection)`, which replaces them by the events that are there now.\(emptying) `tidemark start \(shard) --from-here` keeps them and adds to them."
        ))
    }
    // One that begins exactly where the other is continues its work.
    let isSeamless = { (other: Other) in !start.readsThePast && first.map { $0 <= other.position } ?? true }
    if let other = fillers.first(where: { !isSeamless($0) }), let table = other.table {
      return .wait(
        problem(
          "\(shard) has no position, and \(other.shard), at \(other.position), fills its table \(table)",
          "If \(projection) is its new name, run `tidemark move \(other.shard) \(shard)`. Otherwise declare other tables. If its rows are of no use, run `tidemark forget \(other.shard)` and TRUNCATE \(table)."
        ))
    }
    if let other = namesakes.first, !isSeamless(other) {
      return .wait(
        problem(
          "\(shard) has no position, and \(other.shard), which the settings no longer declare, did the same work up to \(other.position)",
          "If \(projection) is its new name, run `tidemark move \(other.shard) \(shard)`. To have all events handed over again, run `tidemark forget \(other.shard)`."
        ))
    }
    if start.readsThePast, addsRows, let table = tables.first(where: \.hasRows)?.name {
      return .wait(
        problem(
          "\(shard) has no position, and its table \(table) has rows: it would count past events a second time",
          "To fill it from its events, TRUNCATE \(table). If it holds all events so far, set start = \"inline-handover\". If its rows are not made of events, set \(hint)."
        ))
    }
    return .fits
  }

  /// For a shard at a position.
  ///
  /// - Parameters:
  ///   - isKnown: the tables of this position are on record, or Tidemark itself brought it where it is.
  ///   - hasEvents: whether the shard takes an event at or below its position; asked only if the tables are empty.
  package func of(
    _ tables: [Table], at position: Int64, isKnown: Bool, hasEvents: () async throws -> Bool
  ) async rethrows -> Verdict {
    guard !isTold, !tables.isEmpty else { return .fits }
    let others = tables.filter(\.isOther)
    // One that began at the present has no past to fill its tables with.
    guard !others.isEmpty || (!isKnown && start != .present) else { return .fits }
    let suspects = others.isEmpty ? tables : others
    if others.isEmpty ? tables.allSatisfy({ !$0.hasRows }) : others.contains(where: { !$0.hasRows }) {
      guard try await hasEvents() else { return .fits }
      let table = (suspects.first { !$0.hasRows } ?? suspects[0]).name
      let why = others.isEmpty ? "is empty" : "is an empty table that was created since"
      return .wait(
        problem(
          "\(shard) is at \(position), and its table \(table) \(why): it lacks the events up to there",
          "Run `tidemark rebuild \(projection)`, which fills it from its events. If nothing is to be in it, set \(hint)."
        ))
    }
    guard let other = others.first else { return .fits }
    return .doubtful(
      problem(
        "\(shard) is at \(position), and its table \(other.name) is another one than it filled up to there",
        "If it does not hold all events up to there, run `tidemark rebuild \(projection)`."))
  }

  private func problem(_ message: String, _ hint: String) -> Problem { Problem(.store(.mismatch), message, hint: hint) }
}
