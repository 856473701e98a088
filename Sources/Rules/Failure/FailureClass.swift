/// What should be done about a failure, as its SQLSTATE tells.
package enum FailureClass: String, Sendable, Hashable, CaseIterable {
  /// The session or the server is lost, or accepts no writes: wait until it is back.
  case connection
  /// The same page may well succeed a moment later.
  case transient
  /// The data of one event is at fault.
  case event
  /// The projection itself is at fault: every event would fail.
  case definition
  /// The position was not where this node left it.
  case order
  /// The projection has no statement for the event's type.
  case unknownEvent = "unknown-event"

  /// The classes of SQLSTATE that are not, as a rule, the fault of one event's data. The others are: cardinality, data exception, integrity
  /// constraint, case not found, WITH CHECK OPTION, a value beyond a limit, routines, triggered actions, XQuery, RAISE EXCEPTION, and every
  /// class that is not PostgreSQL's own: one of the operator's functions raised it.
  static let otherPrefixes =
    ["00", "01", "02", "03", "08", "0A", "0B", "0F", "0L", "0P", "0Z", "24", "25", "26", "27", "28", "2B", "2D", "34"]
    + ["3B", "3D", "3F", "40", "42", "53", "55", "57", "58", "72", "F0", "HV", "XX"]
    // Tidemark's own.
    + ["TM"]
  /// Those of ``transient`` among them, whole classes and single codes.
  static let transientPrefixes = ["40", "53", "57", "58", "72", "XX", "55P03", "55006"]

  /// See "PostgreSQL Error Codes" in its manual for the codes.
  package static func classify(sqlState: String) -> FailureClass {
    switch sqlState {
    case RaisedCode.positionMoved.rawValue: return .order
    case RaisedCode.compacted.rawValue: return .event
    // A page, or the view, has changed since it was read: read it again.
    case RaisedCode.pageChanged.rawValue, RaisedCode.viewElsewhere.rawValue: return .transient
    // The server ends the session with these, or accepts no writes in it: a standby, or default_transaction_read_only.
    case "57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04", "25006": return .connection
    // A prepared statement was deallocated: prepare it again.
    case "26000": return .transient
    default: break
    }
    if sqlState.hasPrefix("08") { return .connection }
    // Rollback (deadlock, serialization), resources, operator intervention (a timeout too), system error, snapshot too old, internal
    // error; lock not available, object in use.
    if transientPrefixes.contains(where: sqlState.hasPrefix) { return .transient }
    return otherPrefixes.contains(String(sqlState.prefix(2))) ? .definition : .event
  }

  /// What should be done about a problem with this code.
  package static func of(_ code: Code) -> FailureClass {
    switch code {
    case .sqlState, .raised: classify(sqlState: code.text)
    // Only an operator can fix it; the daemon keeps trying.
    case .store: .transient
    // A missing program may be installed a moment later, so only problems of the plugin itself stop its shard.
    case .plugin(.refused), .plugin(.badLibrary), .plugin(.badStatement): .definition
    case .plugin: .transient
    case .settings, .rebuild: .definition
    }
  }

  /// Why a failure with this SQLSTATE, or with one of a class like `42*`, must not skip events; nil if it may.
  package static func objection(toPassingOver pattern: String) -> String? {
    let isWide = pattern.hasSuffix("*")
    // Of one event: too large for a plugin's line, or in place of others.
    if [PluginCode.lineTooLong.rawValue, RaisedCode.compacted.rawValue].contains(pattern) { return nil }
    if pattern.hasPrefix("TM") { return "\(pattern) is Tidemark's own code, and never the fault of a single event" }
    switch classify(sqlState: isWide ? pattern.dropLast() + "000" : pattern) {
    case .event, .transient, .unknownEvent: return nil
    case .connection, .order: return "\(pattern) reports a lost session, which is never the fault of a single event"
    case .definition where isWide:
      return "with a SQLSTATE of \(pattern) every event may fail: list the full codes that a single event can cause"
    case .definition: return nil
    }
  }
}
