extension SQLText {
  /// The daemon controls the transaction: a statement that ended it would separate the effect from the position.
  private static let transactionControl: Set<String> = [
    "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE",
  ]

  /// Why a statement cannot be part of a projection, by the word it begins with; nil if it can.
  package static func objection(to statement: String, isSetup: Bool = false) -> (problem: String, hint: String)? {
    let keyword = firstKeyword(of: statement)
    switch keyword {
    case _ where transactionControl.contains(keyword):
      return ("\(keyword) is not allowed here", "the statements run in the transaction that moves the position")
    case _ where isSetup: return nil
    case "DISCARD", "DEALLOCATE", "LISTEN", "UNLISTEN", "RESET", "LOAD":
      return ("\(keyword) is not allowed here", "the session is shared with other projections")
    // Both end with the transaction.
    case "SET" where ![["SET", "LOCAL"], ["SET", "CONSTRAINTS"]].contains(firstKeywords(of: statement, limit: 2)):
      return ("SET is not allowed here", "use SET LOCAL, which ends with the page")
    case "COPY":
      return ("COPY is not allowed here", "use INSERT … SELECT")
    default: return nil
    }
  }
}
