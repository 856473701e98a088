import Rules

/// `[[on_error]]` as written in a file.
struct FailureRuleDraft: Hashable, Sendable {
  var sqlStates: [String] = []
  var classes: [FailureClass] = []
  var message: String?
  var projections: [String] = []
  var actions: [FailureAction] = []

  var rule: FailureRule {
    FailureRule(
      sqlStates: sqlStates, classes: classes, message: message, projections: projections, actions: actions)
  }

  /// The classes a rule may name. Rules do not apply to a lost connection: the daemon always waits for it.
  static let classes: [FailureClass] = [.transient, .event, .definition, .order, .unknownEvent]

  static let keys: [Key<FailureRuleDraft>] = [
    Key(
      path: "sqlstate", form: "a SQLSTATE like \"23505\", a class like \"23*\", or an array of them",
      meaning: """
        The PostgreSQL error codes that the rule matches; all if omitted. Codes of a class that PostgreSQL does not use come from your
        own functions (RAISE … USING ERRCODE) and count as class event.
        """,
      example: "[\"40001\", \"40P01\"]",
      decode: { toml, root throws(Mismatch) in
        root.sqlStates = try oneOrMore(toml)
        let wrong = root.sqlStates.filter { $0.wholeMatch(of: #/[0-9A-Z]{5}|[0-9A-Z]{2}\*/#) == nil }
        guard wrong.isEmpty else {
          throw Mismatch(found: list(wrong), hint: "use five digits or capital letters, or two and a *")
        }
      },
      show: { $0.sqlStates.isEmpty ? nil : TOMLText.strings($0.sqlStates) }),
    Key(
      path: "class", form: Key<FailureRuleDraft>.oneOf(classes.map(\.rawValue)) + ", or an array of them",
      meaning: """
        The classes of failure that the rule matches; all if omitted. transient: it may pass on its own; event: the data of one event is
        at fault; definition: the statement cannot succeed for any event; order: another process moved the position; unknown-event: the
        projection has no statement for the type. Some statements fail on the data of one event with a code of class definition: bad text
        for to_tsquery is 42601, a row that a policy forbids is 42501. A rule that names such a code in full may skip those events; but if
        the statement itself is wrong, it skips all of them.
        """,
      example: "\"event\"",
      decode: { toml, root throws(Mismatch) in
        let names = try oneOrMore(toml)
        let known = classes.map(\.rawValue)
        let wrong = names.filter { !known.contains($0) }
        guard wrong.isEmpty else {
          let meant = wrong.compactMap { nearestName(to: $0, in: known) }
          throw Mismatch(found: list(wrong), hint: meant.isEmpty ? nil : "did you mean \(list(meant))?")
        }
        root.classes = classes.filter { names.contains($0.rawValue) }
      },
      show: { $0.classes.isEmpty ? nil : TOMLText.strings($0.classes.map(\.rawValue)) }),
    Key(
      path: "message", form: "a regular expression",
      meaning: "A pattern to find anywhere in the server's message.", example: "\"no such driver\"",
      decode: { toml, root throws(Mismatch) in
        guard case .string(let text) = toml.content, !text.isEmpty else { throw Mismatch() }
        do { _ = try Regex(text) } catch { throw Mismatch(hint: "\(error)") }
        root.message = text
      },
      show: { $0.message.map(TOMLText.string) }),
    Key(
      path: "projection", form: "the name of a projection, or an array of them",
      meaning: "The projections whose failures the rule matches; all if omitted.", example: "\"Trip\"",
      decode: { toml, root throws(Mismatch) in root.projections = try oneOrMore(toml) },
      show: { $0.projections.isEmpty ? nil : TOMLText.strings($0.projections) }),
    Key(
      path: "do", form: "an array of actions, like [\"retry 250ms\", \"retry 1s\", \"pause 1m\"]",
      meaning: """
        The actions to take, one for each consecutive failure: "retry" or "retry 250ms" tries the page again; "skip" makes the failing
        event a dead letter and continues; "ignore" skips it without a dead letter; "pause 1m" waits; "pause all 1m" makes all shards
        that the node runs in the same database wait; "stop" and "stop all" wait for `tidemark start`. A chain that ends with a pause
        starts over after it; when any other chain is used up, the shard stops. A page that fails by a timeout, or by a limit of the server, is
        first made narrower, down to a single event, before any of this. While the daemon searches a wider page for the failing event, it
        raises statement_timeout a hundredfold for a projection with `sql`.
        """,
      decode: { toml, root throws(Mismatch) in
        let texts = try oneOrMore(toml)
        let wrong = texts.filter { FailureAction(setting: $0) == nil }
        guard wrong.isEmpty else {
          throw Mismatch(
            expected:
              "actions like \"retry\", \"retry 250ms\", \"skip\", \"ignore\", \"pause 1m\", \"pause all 1m\", \"stop\" and \"stop all\"",
            found: list(wrong))
        }
        root.actions = []
        for (text, action) in zip(texts, texts.compactMap(FailureAction.init(setting:))) {
          if let last = root.actions.last, last.isEnd {
            throw Mismatch(
              expected: "nothing after \"\(last.settingText)\", which ends the chain", found: TOMLText.string(text))
          }
          root.actions.append(action)
        }
      },
      show: { TOMLText.strings($0.actions.map(\.settingText)) }),
  ]

  private static func list(_ texts: [String]) -> String { texts.map(TOMLText.string).joined(separator: ", ") }

  private static func oneOrMore(_ toml: TOMLValue) throws(Mismatch) -> [String] {
    if case .string(let text) = toml.content, !text.isEmpty { return [text] }
    guard case .array(let values) = toml.content, !values.isEmpty else { throw Mismatch() }
    var texts: [String] = []
    for value in values {
      guard case .string(let text) = value.content, !text.isEmpty else { throw Mismatch() }
      texts.append(text)
    }
    return texts
  }

  /// Conflicts between the keys of the rule; empty if there are none.
  var conflicts: [String] {
    var conflicts: [String] = []
    if actions.contains(where: \.passesEventOver) {
      if let cannot = classes.first(where: { [.definition, .order].contains($0) }) {
        conflicts.append(
          "no single event is at fault in a failure of class \"\(cannot.rawValue)\", so there is none to skip")
      }
      conflicts += sqlStates.compactMap(FailureClass.objection(toPassingOver:))
    }
    if classes.contains(.unknownEvent), !sqlStates.isEmpty {
      conflicts.append("a failure of class \"unknown-event\" has no SQLSTATE")
    }
    return conflicts
  }
}

extension FailureAction {
  /// Parses an action such as `retry 250ms`; nil for any other text.
  init?(setting text: String) {
    let words = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
    switch (words.first, words.count) {
    case ("retry", 1): self = .retry(after: .zero)
    case ("retry", 2):
      guard let delay = Duration(setting: words[1]) else { return nil }
      self = .retry(after: delay)
    case ("skip", 1): self = .skip
    case ("ignore", 1): self = .ignore
    case ("stop", 1): self = .stop
    case ("stop", 2) where words[1] == "all": self = .stopAll
    case ("pause", 2):
      guard let length = Duration(setting: words[1]), length > .zero else { return nil }
      self = .pause(length)
    case ("pause", 3) where words[1] == "all":
      guard let length = Duration(setting: words[2]), length > .zero else { return nil }
      self = .pauseAll(length)
    default: return nil
    }
  }

  var settingText: String {
    switch self {
    case .retry(let delay): delay == .zero ? "retry" : "retry \(delay.settingText)"
    case .skip: "skip"
    case .ignore: "ignore"
    case .pause(let length): "pause \(length.settingText)"
    case .pauseAll(let length): "pause all \(length.settingText)"
    case .stop: "stop"
    case .stopAll: "stop all"
    }
  }
}
