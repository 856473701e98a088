/// One step of the response to a failure.
package enum FailureAction: Hashable, Sendable {
  /// Try the same page again after this long.
  case retry(after: Duration)
  /// Make the failing event a dead letter, and continue with the others.
  case skip
  /// Skip the failing event without a dead letter.
  case ignore
  /// Do nothing for this long, then try again.
  case pause(Duration)
  /// The same for every shard of the node.
  case pauseAll(Duration)
  /// Do nothing until an operator starts the shard, or the definition changes.
  case stop
  case stopAll

  /// Whether it must be the last in a chain.
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

/// `[[on_error]]`: which failures it applies to, and the response: one step for each failure in a row.
package struct FailureRule: Hashable, Sendable {
  /// Exact, or a class like `23*`; empty for any.
  package var sqlStates: [String]
  /// Empty for any.
  package var classes: [FailureClass]
  /// A regular expression to find in the message; nil for any.
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
    // Events are not skipped one by one for an error that every event would cause, or that is not an event's fault. But a statement
    // that works for others may fail on one event with the code of a bad definition, as to_tsquery does on bad text: a rule that names
    // the full code asks for it.
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
    // The settings reader has checked the pattern.
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

/// The facts of a failure that rules look at.
package struct FailureFacts: Hashable, Sendable {
  package var failureClass: FailureClass
  package var sqlState: String?
  /// Nil while it is not known: then every pattern matches.
  package var message: String?
  package var projection: String

  package init(_ failureClass: FailureClass, sqlState: String? = nil, message: String? = "", projection: String) {
    self.failureClass = failureClass
    self.sqlState = sqlState
    self.message = message
    self.projection = projection
  }
}

/// The response to each failure: the operator's rules, then the defaults. The first rule that matches decides.
package struct FailurePolicy: Hashable, Sendable {
  package var rules: [FailureRule]
  /// If true, an event that a statement fails on becomes a dead letter; otherwise it stops the shard.
  package var skipApplyErrors: Bool
  /// The same for an event whose data does not have the form that a statement expects (SQLSTATE class 22).
  package var skipSerializationErrors: Bool
  /// If true, the shard skips an event of a type without a statement; otherwise such an event stops it.
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

  /// The setting that decides whether an event with such a failure stops the shard; nil if a rule of the operator's decides, or none can.
  package func decides(on failure: FailureFacts) -> Switch? {
    rules.contains { $0.matches(failure) } ? nil : Switch(failure)
  }

  /// The settings under `[errors]` and `[rebuild_errors]`.
  package enum Switch: String {
    case apply = "skip_apply_errors"
    case serialization = "skip_serialization_errors"
    case unknown = "skip_unknown_events"

    /// Nil for failures that are no event's fault.
    fileprivate init?(_ failure: FailureFacts) {
      switch failure.failureClass {
      // Its stream lacks events for good, so only the operator can say how to go on.
      case .event where failure.sqlState == RaisedCode.compacted.rawValue: return nil
      case .event: self = failure.sqlState?.hasPrefix("22") == true ? .serialization : .apply
      case .unknownEvent: self = .unknown
      case .connection, .transient, .definition, .order: return nil
      }
    }

    fileprivate var value: KeyPath<FailurePolicy, Bool> {
      switch self {
      case .apply: \.skipApplyErrors
      case .serialization: \.skipSerializationErrors
      case .unknown: \.skipUnknownEvents
      }
    }
  }

  /// The chain for a failure. A lost connection has none: the shard waits until the database is back.
  package func actions(for failure: FailureFacts) -> [FailureAction] {
    rules.first { $0.matches(failure) }?.actions ?? standard(for: failure)
  }

  private func standard(for failure: FailureFacts) -> [FailureAction] {
    switch failure.failureClass {
    // The store is not at rest: wait until the operator stops the writers.
    case .transient where failure.sqlState == StoreCode.notAtRest.rawValue: [.pause(.seconds(10))]
    // Position and tables do not belong together: wait until the operator brings them together.
    case .transient where failure.sqlState == StoreCode.mismatch.rawValue: [.pause(.seconds(10))]
    // Another program moved the position: the same.
    case .transient where failure.sqlState == StoreCode.moved.rawValue: [.pause(.seconds(10))]
    case .connection, .transient:
      [
        .retry(after: .milliseconds(250)), .retry(after: .milliseconds(500)), .retry(after: .seconds(1)),
        // What the server lacks it may have again at any moment, and every shard waits for it.
        .pause(failure.sqlState?.hasPrefix("53") == true ? .seconds(5) : .seconds(30)),
      ]
    case .event: [Switch(failure).map { self[keyPath: $0.value] } == true ? .skip : .stop]
    case .unknownEvent: [Switch(failure).map { self[keyPath: $0.value] } == true ? .ignore : .stop]
    case .definition: [.stop]
    case .order: [.pause(.seconds(10)), .pause(.seconds(10)), .stop]
    }
  }

  /// SQLSTATEs that may be the fault of one event, as regular expressions: only for these is it worth searching for the event.
  package var isolable: [String] {
    let passing = rules.filter(\.passesEventsOver)
    // A rule without codes may mean any class that can be an event's fault.
    let isWide = passing.contains { $0.sqlStates.isEmpty && ($0.classes.isEmpty || $0.classes.contains(.transient)) }
    return ["^(?!\(FailureClass.otherPrefixes.joined(separator: "|")))"]
      + (isWide ? FailureClass.transientPrefixes.map { "^\($0)" } : [])
      + passing.flatMap(\.sqlStates).filter { FailureClass.objection(toPassingOver: $0) == nil }
      .map { $0.hasSuffix("*") ? "^\($0.dropLast())" : "^\($0)$" }
  }

  /// Whether a projection must see events of types it has no statement for.
  package func looksAtUnknownEvents(of projection: String) -> Bool {
    // The message is not known yet, so a rule with a message may apply to some of them and not to others.
    let facts = FailureFacts(.unknownEvent, message: nil, projection: projection)
    for rule in rules where rule.matches(facts) {
      if rule.actions != [.ignore] { return true }
      if rule.message == nil { return false }
    }
    return standard(for: facts) != [.ignore]
  }
}
