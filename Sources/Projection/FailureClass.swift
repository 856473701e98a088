/// What should be done about a failure, as told by its SQLSTATE.
package enum FailureClass: String, Sendable, Hashable, CaseIterable {
  /// The session or the server is gone: wait until it is back.
  case connection
  /// The same page may well succeed a moment later.
  case transient
  /// One event's data is at fault.
  case event
  /// The projection itself is at fault: every event would fail.
  case definition
  /// The position was not where this node left it.
  case order
  /// An event of a type that the projection has no statement for.
  case unknownEvent = "unknown-event"

  /// Cardinality, data exception, integrity constraint, WITH CHECK OPTION, a value beyond a limit, RAISE EXCEPTION, routines, triggered actions, XQuery.
  static let eventPrefixes = ["21", "22", "23", "44", "54", "P0", "2F", "38", "39", "09", "10"]

  /// See "PostgreSQL Error Codes" in its manual for the codes.
  package static func classify(sqlState: String) -> FailureClass {
    switch sqlState {
    case RaisedCode.positionMoved.rawValue: return .order
    // A page that was read before has changed: it is read again.
    case RaisedCode.pageChanged.rawValue: return .transient
    case "57P01", "57P02", "57P03", "57P05": return .connection
    // Cancelled by a timeout of the operator's; lock not available; idle-in-transaction timeout.
    case "57014", "55P03", "25P03", "55006": return .transient
    // A prepared statement that somebody deallocated: it is prepared again.
    case "26000": return .transient
    default: break
    }
    let prefix = String(sqlState.prefix(2))
    return switch prefix {
    case "08": .connection
    // Rollback (deadlock, serialization), resources, operator intervention, system error, snapshot too old, internal error.
    case "40", "53", "57", "58", "72", "XX": .transient
    case _ where eventPrefixes.contains(prefix): .event
    default: .definition
    }
  }
}
