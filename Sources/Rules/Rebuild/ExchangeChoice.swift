/// How a rebuild's new tables take the place of the old ones, in one commit.
package enum ExchangeWay: String, CaseIterable, Hashable, Sendable {
  /// The new table gets the old one's name: at once, whatever its size, but only where nothing else hangs on the old one.
  case swap
  /// The rows that differ are deleted and inserted: keeps whatever hangs on the table.
  case copy

  /// The same among all ways of a rebuild.
  package var requested: RequestedWay {
    switch self {
    case .swap: .swap
    case .copy: .copy
    }
  }
}

/// What the operator asked for.
package enum RequestedWay: String, CaseIterable, Hashable, Sendable {
  /// A swap where possible, else a copy.
  case auto
  case swap
  case copy
  /// No new tables: the old ones are emptied and filled again before the readers' eyes.
  case inPlace = "in-place"
  /// No tables at all: a plugin is handed every event again. Never asked for; it is what a rebuild of one with effects outside is.
  case replay
}

/// The way of an exchange, and why.
package struct ExchangeChoice: Hashable, Sendable {
  package var way: ExchangeWay
  package var reason: String

  package init(_ way: ExchangeWay, reason: String) {
    self.way = way
    self.reason = reason
  }

  /// What hangs on a table and would not come along with a swap, in words.
  package struct Obstacles: Hashable, Sendable {
    package var table: String
    package var found: [String]
    /// The keys that foreign keys of other tables name, in words. A row stays the same for all that hangs on it while it keeps its key;
    /// where there are several, nothing says which.
    package var referredKeys: [String]

    package init(table: String, found: [String], referredKeys: [String] = []) {
      self.table = table
      self.found = found
      self.referredKeys = referredKeys
    }
  }

  /// - Parameter isPartial: only some rows are rebuilt, so the table itself stays.
  /// - Throws: where a swap was asked for and cannot be, or a copy would take rows of other tables along.
  package static func choose(
    _ requested: RequestedWay, isPartial: Bool, _ obstacles: [Obstacles]
  ) throws(Problem) -> ExchangeChoice {
    let choice = try way(requested, isPartial: isPartial, obstacles)
    if choice.way == .copy, let torn = obstacles.first(where: { $0.referredKeys.count > 1 }) {
      throw Problem(
        .rebuild(.wrongWay),
        "foreign keys refer to \(torn.table) by \(torn.referredKeys.joined(separator: " and by ")): a new row may be an old one by the one, and another by the other",
        hint: "Drop the foreign keys to all but one of these keys, rebuild, and add them again.")
    }
    return choice
  }

  private static func way(
    _ requested: RequestedWay, isPartial: Bool, _ obstacles: [Obstacles]
  ) throws(Problem) -> ExchangeChoice {
    let hindered = obstacles.first { !$0.found.isEmpty }
    let reason = hindered.map { "\($0.found.joined(separator: ", ")) on \($0.table)" }
    switch requested {
    case .copy, .inPlace, .replay: return ExchangeChoice(.copy, reason: "as asked")
    case .swap:
      if isPartial {
        throw Problem(
          .rebuild(.wrongWay), "a part of the rows cannot be exchanged by a swap",
          hint: "Leave --by out, or say --by copy.")
      }
      if let reason {
        throw Problem(
          .rebuild(.wrongWay), "a swap would lose what hangs on the table: \(reason)",
          hint: "Leave --by out, or say --by copy.")
      }
      return ExchangeChoice(.swap, reason: "as asked")
    case .auto:
      if isPartial { return ExchangeChoice(.copy, reason: "only some rows are rebuilt") }
      if let reason { return ExchangeChoice(.copy, reason: reason) }
      return ExchangeChoice(.swap, reason: "nothing else hangs on the tables")
    }
  }

  /// The tables in an order in which each comes after those it refers to; tables that refer to each other keep theirs.
  package static func inOrder(_ tables: [String], references: [String: [String]]) -> [String] {
    var ordered: [String] = []
    var visiting: Set<String> = []
    func visit(_ table: String) {
      guard !ordered.contains(table), visiting.insert(table).inserted else { return }
      for other in references[table] ?? [] where tables.contains(other) { visit(other) }
      ordered.append(table)
    }
    for table in tables { visit(table) }
    return ordered
  }
}

extension Problem {
  /// The row of the rebuild is another one now.
  package static let begunAnew = Problem(
    .rebuild(.underWay), "the rebuild was begun anew by somebody else", hint: "Watch that one.")

  /// The shard has no position.
  package init(nothingAppliedBy shard: String) {
    self.init(
      .rebuild(.nothingApplied), "\(shard) has no position: nothing was ever applied", hint: "Let it run first.")
  }
}

/// How an operator fixes a statement that a rebuild cannot redirect to its new tables.
package let strayHint =
  "Name tables without their schema, and every table that is written in `tables`; or rebuild with --in-place."
