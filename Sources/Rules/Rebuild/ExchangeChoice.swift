/// How a rebuild's new tables take the place of the old ones, in one commit.
package enum ExchangeWay: String, CaseIterable, Hashable, Sendable {
  /// The new table gets the old one's name: at once, whatever its size, but only where nothing else hangs on the old one.
  case swap
  /// The rows that differ are deleted and inserted: keeps whatever hangs on the table.
  case copy

  /// The same among all ways of a rebuild.
  package var wished: WishedWay {
    switch self {
    case .swap: .swap
    case .copy: .copy
    }
  }
}

/// What the operator asked for.
package enum WishedWay: String, CaseIterable, Hashable, Sendable {
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
    _ wished: WishedWay, isPartial: Bool, _ obstacles: [Obstacles]
  ) throws(RebuildProblem) -> ExchangeChoice {
    let choice = try way(wished, isPartial: isPartial, obstacles)
    if choice.way == .copy, let torn = obstacles.first(where: { $0.referredKeys.count > 1 }) {
      throw RebuildProblem(
        .wrongWay,
        "foreign keys refer to \(torn.table) by \(torn.referredKeys.joined(separator: " and by ")): a new row may be an old one by the one, and another by the other",
        hint: "Drop the foreign keys to all but one of these keys, rebuild, and add them again.")
    }
    return choice
  }

  private static func way(
    _ wished: WishedWay, isPartial: Bool, _ obstacles: [Obstacles]
  ) throws(RebuildProblem) -> ExchangeChoice {
    let hindered = obstacles.first { !$0.found.isEmpty }
    let reason = hindered.map { "\($0.found.joined(separator: ", ")) on \($0.table)" }
    switch wished {
    case .copy, .inPlace, .replay: return ExchangeChoice(.copy, reason: "as asked")
    case .swap:
      if isPartial {
        throw RebuildProblem(
          .wrongWay, "a part of the rows cannot be exchanged by a swap", hint: "Leave --by out, or say --by copy.")
      }
      if let reason {
        throw RebuildProblem(
          .wrongWay, "a swap would lose what hangs on the table: \(reason)", hint: "Leave --by out, or say --by copy.")
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

/// Why a rebuild cannot be done, or cannot go on, as an operator can use it.
package struct RebuildProblem: Error, Hashable, Sendable, CustomStringConvertible {
  /// Stable, and listed in the manual.
  package enum Code: String, ProblemCode {
    case noTables = "TM321"
    case notRedirected = "TM322"
    case wrongWay = "TM323"
    case nothingApplied = "TM324"
    case underWay = "TM325"
    case otherRequest = "TM326"
    case noKey = "TM327"
    case pageFailed = "TM328"
    case tablesChanged = "TM329"
    case noPrivilege = "TM330"
    case otherDefinition = "TM331"
    case aborted = "TM332"
    case plugin = "TM333"
    case unknownPart = "TM334"
    case collision = "TM335"

    package var meaning: String {
      switch self {
      case .noTables:
        "The projection does not say which tables it fills, or one of them is not there, or is no table."
      case .notRedirected: "A statement writes or reads past the search path."
      case .wrongWay: "This way of exchange is not possible."
      case .nothingApplied: "The shard has no position, as nothing was ever applied, or none so high."
      case .underWay: "Somebody else works on it."
      case .otherRequest: "What is half made was begun for something else."
      case .noKey:
        "Only some streams or tenants, or several workers, of a projection that does not say how to tell rows apart."
      case .pageFailed: "A page failed, and the policy of rebuilds says stop."
      case .tablesChanged: "The tables were changed meanwhile."
      case .noPrivilege: "The role may not make the new tables."
      case .otherDefinition: "The node runs another definition than the command's settings file has."
      case .aborted: "An operator ended it."
      case .plugin: "A plugin that is not rebuilt, or not in the way that was asked for."
      case .unknownPart: "A stream or a tenant that has no events, or cannot be one."
      case .collision: "A new row has the key of an old one that stays."
      }
    }
  }

  package var code: Code
  package var message: String
  package var hint: String

  package init(_ code: Code, _ message: String, hint: String) {
    self.code = code
    self.message = message
    self.hint = hint
  }

  /// The row of the rebuild is another one now.
  package static let begunAnew = RebuildProblem(
    .underWay, "the rebuild was begun anew by somebody else", hint: "Watch that one.")

  /// The shard has no position.
  package init(nothingAppliedBy shard: String) {
    self.init(.nothingApplied, "\(shard) has no position: nothing was ever applied", hint: "Let it run first.")
  }

  package var description: String { "\(message) [\(code.rawValue)]" }
}

/// How an operator fixes a statement that a rebuild cannot redirect to its new tables.
package let strayHint =
  "Name tables without their schema, and every table that is written in `tables`; or rebuild with --in-place."
