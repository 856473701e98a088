/// One step of what is done about a failure.
package enum FailureAction: Hashable, Sendable {
  /// Try the same page again after this long.
  case retry(after: Duration)
  /// Make the failing event a dead letter, and go on with the others.
  case skip
  /// Leave the failing event out, without a dead letter.
  case ignore
  /// Do nothing for this long, then try again.
  case pause(Duration)
  /// The same for every shard of the node.
  case pauseAll(Duration)
  /// Do nothing until somebody says `start`, or the definition changes.
  case stop
  case stopAll

  /// Whether nothing can come after it in a chain.
  package var isEnd: Bool {
    switch self {
    case .skip, .ignore, .stop, .stopAll: true
    case .retry, .pause, .pauseAll: false
    }
  }

  package var passesEventOver: Bool { self == .skip || self == .ignore }

  var isPause: Bool {
    switch self {
    case .pause, .pauseAll: true
    case .retry, .skip, .ignore, .stop, .stopAll: false
    }
  }
}

/// `[[on_error]]`: which failures, and what is done about them, one step for each time in a row.
package struct FailureRule: Hashable, Sendable {
  /// Exact, or a class like `23*`; empty for any.
  package var sqlStates: [String]
  /// Empty for any.
  package var classes: [FailureClass]
  /// A regular expression that is looked for in the message; nil for any.
  package var message: String?
  /// Names of projections; empty for any.
  package var projections: [String]
  package var actions: [FailureAction]

  package init(
    sqlStates: [String] = [], classes: [FailureClass] = [], message: String? = nil, projections: [String] = [],
    actions: [FailureAction]
  ) {
    self.sqlStates = sqlStates
    self.classes = classes
    self.message = message
    self.projections = projections
    self.actions = actions
  }

  func matches(_ failure: FailureFacts) -> Bool {
    // What can work for no event, and what is no event's fault, is not passed over event by event. But a statement that works for
    // others may fail on one event with the code of a bad definition, as to_tsquery does on bad text: who names that code whole means it.
    if passesEventsOver {
      switch failure.failureClass {
      case .order, .connection: return false
      case .definition where !sqlStates.contains(where: { $0 == failure.sqlState }): return false
      case .definition, .event, .transient, .unknownEvent: break
      }
    }
    if !sqlStates.isEmpty, !sqlStates.contains(where: { Self.matches($0, failure.sqlState) }) { return false }
    if !classes.isEmpty, !classes.contains(failure.failureClass) { return false }
    if !projections.isEmpty, !projections.contains(failure.projection) { return false }
    // The pattern was checked when the settings were read.
    if let message, let said = failure.message, let pattern = try? Regex(message), said.firstMatch(of: pattern) == nil {
      return false
    }
    return true
  }

  var passesEventsOver: Bool { actions.contains(where: \.passesEventOver) }

  private static func matches(_ pattern: String, _ state: String?) -> Bool {
    guard let state else { return false }
    return pattern.hasSuffix("*") ? state.hasPrefix(pattern.dropLast()) : state == pattern
  }
}

/// A failure, as far as rules look at it.
package struct FailureFacts: Hashable, Sendable {
  package var failureClass: FailureClass
  package var sqlState: String?
  /// Nil where it is not known yet: then every pattern matches.
  package var message: String?
  package var projection: String

  package init(_ failureClass: FailureClass, sqlState: String? = nil, message: String? = "", projection: String) {
    self.failureClass = failureClass
    self.sqlState = sqlState
    self.message = message
    self.projection = projection
  }
}

/// What is done about which failure: the operator's rules, then the defaults. The first rule that matches decides.
package struct FailurePolicy: Hashable, Sendable {
  package var rules: [FailureRule]
  /// An event that a statement fails on becomes a dead letter; otherwise it stops the shard.
  package var skipApplyErrors: Bool
  /// The same for an event whose data does not have the form that a statement expects (SQLSTATE class 22).
  package var skipSerializationErrors: Bool
  /// An event of a type without a statement is passed over; otherwise it stops the shard.
  package var skipUnknownEvents: Bool

  package init(
    rules: [FailureRule] = [], skipApplyErrors: Bool = true, skipSerializationErrors: Bool = true,
    skipUnknownEvents: Bool = true
  ) {
    self.rules = rules
    self.skipApplyErrors = skipApplyErrors
    self.skipSerializationErrors = skipSerializationErrors
    self.skipUnknownEvents = skipUnknownEvents
  }

  /// The chain for a failure. One for a lost connection does not exist: the shard waits until the database is back.
  package func actions(for failure: FailureFacts) -> [FailureAction] {
    rules.first { $0.matches(failure) }?.actions ?? standard(for: failure)
  }

  private func standard(for failure: FailureFacts) -> [FailureAction] {
    switch failure.failureClass {
    // The store is not at rest: until somebody stops the writers.
    case .transient where failure.sqlState == StoreCode.notAtRest.rawValue: [.pause(.seconds(10))]
    case .connection, .transient:
      [
        .retry(after: .milliseconds(250)), .retry(after: .milliseconds(500)), .retry(after: .seconds(1)),
        .pause(.seconds(30)),
      ]
    case .event:
      [
        failure.sqlState?.hasPrefix("22") == true
          ? (skipSerializationErrors ? .skip : .stop) : (skipApplyErrors ? .skip : .stop)
      ]
    case .unknownEvent: [skipUnknownEvents ? .ignore : .stop]
    case .definition: [.stop]
    case .order: [.pause(.seconds(10)), .pause(.seconds(10)), .stop]
    }
  }

  /// SQLSTATEs that may be the fault of one event, as regular expressions: only these are worth looking for the event.
  package var isolable: [String] {
    let passing = rules.filter(\.passesEventsOver)
    // A rule without codes may mean any class that can be an event's fault.
    let isWide = passing.contains { $0.sqlStates.isEmpty && ($0.classes.isEmpty || $0.classes.contains(.transient)) }
    return ["^(?!\(FailureClass.otherPrefixes.joined(separator: "|")))"]
      + (isWide ? FailureClass.transientPrefixes.map { "^\($0)" } : [])
      + passing.flatMap(\.sqlStates).filter { FailureClass.objection(toPassingOver: $0) == nil }
      .map { $0.hasSuffix("*") ? "^\($0.dropLast())" : "^\($0)$" }
  }

  /// Whether a projection has to see events of types it has no statement for.
  package func looksAtUnknownEvents(of projection: String) -> Bool {
    // What will be said of them is not known yet, so a rule with a message may be for some and not for others.
    let facts = FailureFacts(.unknownEvent, message: nil, projection: projection)
    for rule in rules where rule.matches(facts) {
      if rule.actions != [.ignore] { return true }
      if rule.message == nil { return false }
    }
    return standard(for: facts) != [.ignore]
  }
}
