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

  /// The classes of SQLSTATE in which one event's data is not at fault, as a rule. What is left is: cardinality, data exception, integrity
  /// constraint, case not found, WITH CHECK OPTION, a value beyond a limit, routines, triggered actions, XQuery, RAISE EXCEPTION, and every
  /// class that is not PostgreSQL's own: such a code was raised by a function of the operator's.
  static let otherPrefixes =
    ["00", "01", "02", "03", "08", "0A", "0B", "0F", "0L", "0P", "0Z", "24", "25", "26", "27", "28", "2B", "2D", "34"]
    + ["3B", "3D", "3F", "40", "42", "53", "55", "57", "58", "72", "F0", "HV", "XX"]
    // Tidemark's own.
    + ["TM"]
  /// Among them those of ``transient``, whole classes and single codes.
  static let transientPrefixes = ["40", "53", "57", "58", "72", "XX", "55P03", "55006"]

  /// See "PostgreSQL Error Codes" in its manual for the codes.
  package static func classify(sqlState: String) -> FailureClass {
    switch sqlState {
    case RaisedCode.positionMoved.rawValue: return .order
    // A page that was read before has changed: it is read again.
    case RaisedCode.pageChanged.rawValue, RaisedCode.viewElsewhere.rawValue: return .transient
    // With these the server ends the session.
    case "57P01", "57P02", "57P03", "57P04", "57P05", "25P03": return .connection
    // A prepared statement that somebody deallocated: it is prepared again.
    case "26000": return .transient
    default: break
    }
    if sqlState.hasPrefix("08") { return .connection }
    // Rollback (deadlock, serialization), resources, operator intervention (a timeout too), system error, snapshot too old, internal
    // error; lock not available, object in use.
    if transientPrefixes.contains(where: sqlState.hasPrefix) { return .transient }
    return otherPrefixes.contains(String(sqlState.prefix(2))) ? .definition : .event
  }

  /// What a problem with this code asks for.
  package static func of(_ code: Code) -> FailureClass {
    switch code {
    case .sqlState, .raised: classify(sqlState: code.text)
    // What only a person can help, and is tried again by itself.
    case .store: .transient
    // A missing program may be installed a moment later, so only problems of the plugin itself stop its shard.
    case .plugin(.refused), .plugin(.badLibrary), .plugin(.badStatement): .definition
    case .plugin: .transient
    case .settings, .rebuild: .definition
    }
  }

  /// Why no event can be passed over for a failure with this SQLSTATE, or one of a class like `42*`; nil where one can.
  package static func objection(toPassingOver pattern: String) -> String? {
    let isWide = pattern.hasSuffix("*")
    // Raised for the one event that is too large for a plugin's line.
    if pattern == PluginCode.lineTooLong.rawValue { return nil }
    if pattern.hasPrefix("TM") { return "\(pattern) is Tidemark's own, and no single event's fault" }
    switch classify(sqlState: isWide ? pattern.dropLast() + "000" : pattern) {
    case .event, .transient, .unknownEvent: return nil
    case .connection, .order: return "\(pattern) tells of a session that is lost, which is no single event's fault"
    case .definition where isWide:
      return "with a SQLSTATE of \(pattern) every event may fail: name those whole that one event may fail with"
    case .definition: return nil
    }
  }
}
