/// A code that names a problem for good, whatever becomes of the words: for searching, for rules and for scripts.
///
/// tidemark.observations(7) lists every code with its meaning, made from the types that conform.
package protocol ProblemCode: RawRepresentable<String>, CaseIterable, Hashable, Sendable {
  /// A sentence for the manual.
  var meaning: String { get }
}

/// What Tidemark's own functions in the database raise, as SQLSTATE.
package enum RaisedCode: String, ProblemCode {
  case positionMoved = "TM301"
  case otherVersion = "TM302"
  case unknownShard = "TM303"
  case strayStatement = "TM304"
  case pageChanged = "TM305"
  case unknownPart = "TM306"
  case rowsOfOthers = "TM307"

  package var meaning: String {
    switch self {
    case .positionMoved: "A position is not where the page begins: somebody else moves it. The page was rolled back."
    case .otherVersion: "tidemark.append: the stream is at another version. Read it again, decide again."
    case .unknownShard: "tidemark.wait_for: there is no shard of this name with a position."
    case .strayStatement: "A statement of a rebuild writes or reads past the new tables. The page was rolled back."
    case .pageChanged:
      "The events of a page have changed while a plugin had them: one arrived late, or dead letters were replayed. The page is read again."
    case .unknownPart:
      "A stream or a tenant that is to be rebuilt has no events, or cannot be one; the command says TM334."
    case .rowsOfOthers:
      "A rebuild of some streams or tenants has made rows that are not theirs; the command says TM327."
    }
  }
}
