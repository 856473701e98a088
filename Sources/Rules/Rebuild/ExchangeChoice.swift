/// How a rebuild's new tables replace the old ones, in one commit.
package enum ExchangeWay: String, CaseIterable, Hashable, Sendable {
  /// The new table gets the old one's name: in an instant at any size, but only if nothing else depends on the old one.
  case swap
  /// The rows that differ are deleted and inserted: everything that depends on the table stays.
  case copy

  /// The same among all ways of a rebuild.
  package var requested: RequestedWay {
    switch self {
    case .swap: .swap
    case .copy: .copy
    }
  }
}

/// The way that the operator asked for.
package enum RequestedWay: String, CaseIterable, Hashable, Sendable {
  /// A swap if possible, else a copy.
  case auto
  case swap
  case copy
  /// No new tables: the old ones are emptied and filled again, while readers see them.
  case inPlace = "in-place"
  /// No tables at all: a plugin gets every event again. The operator never names it; a rebuild of a plugin with external effects is one.
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

  /// The objects that depend on a table and that a swap would drop, in words.
  package struct Obstacles: Hashable, Sendable {
    package var table: String
    package var found: [String]
    /// The keys that foreign keys of other tables reference, in words. To those tables a row is the same row as long as its key is; with
    /// several keys it is ambiguous.
    package var referredKeys: [String]

    package init(table: String, found: [String], referredKeys: [String] = []) {
      self.table = table
      self.found = found
      self.referredKeys = referredKeys
    }
  }

  /// - Parameter isPartial: only some rows are rebuilt, so the table itself stays.
  /// - Throws: ``Problem`` if a swap was asked for and is not possible, or if a copy cannot match new rows to old ones.
  package static func choose(
    _ requested: RequestedWay, isPartial: Bool, _ obstacles: [Obstacles]
  ) throws(Problem) -> ExchangeChoice {
    let choice = try way(requested, isPartial: isPartial, obstacles)
    if choice.way == .copy, let torn = obstacles.first(where: { $0.referredKeys.count > 1 }) {
      throw Problem(
        .rebuild(.wrongWay),
        "foreign keys reference \(torn.table) by several keys (\(torn.referredKeys.joined(separator: "; "))): a new row could match one old row by the first and another by the second",
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
          .rebuild(.wrongWay), "a swap cannot exchange only some of the rows",
          hint: "Omit --by, or use --by copy.")
      }
      if let reason {
        throw Problem(
          .rebuild(.wrongWay), "the tables cannot be swapped because of \(reason)",
          hint: "A swap would drop dependent objects. Omit --by, or use --by copy.")
      }
      return ExchangeChoice(.swap, reason: "as asked")
    case .auto:
      if isPartial { return ExchangeChoice(.copy, reason: "only some rows are rebuilt") }
      if let reason { return ExchangeChoice(.copy, reason: reason) }
      return ExchangeChoice(.swap, reason: "nothing else depends on the tables")
    }
  }

  /// Orders the tables so that each comes after those it references; tables that reference each other keep their order.
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
  /// The row belongs to another rebuild now.
  package static let begunAnew = Problem(
    .rebuild(.underWay), "another command or node started the rebuild over",
    hint: "Run `tidemark rebuild` again to watch that one.")

  /// The shard has no position.
  package init(nothingAppliedBy shard: String) {
    self.init(
      .rebuild(.nothingApplied), "\(shard) has no position: it has never applied an event", hint: "Let it run first.")
  }
}

/// How an operator fixes a statement that a rebuild cannot redirect to its new tables.
package let strayHint =
  "Name in `tables` every table that is written, and tables without their schema. Where a schema is needed, rebuild with --in-place."
