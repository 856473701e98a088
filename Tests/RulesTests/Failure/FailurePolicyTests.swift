import Rules
import Testing

@Suite struct `What is done about a failure` {
  private func facts(
    _ failureClass: FailureClass, _ state: String? = nil, _ message: String = "", in projection: String = "Trip"
  )
    -> FailureFacts
  {
    FailureFacts(failureClass, sqlState: state, message: message, projection: projection)
  }

  @Test(arguments: [("53200", 5), ("53100", 5), ("40P01", 30), ("57014", 30)])
  func `pauses briefly while the server lacks something, which it may have again at any moment`(
    code: String, seconds: Int
  ) {
    let facts = FailureFacts(.transient, sqlState: code, projection: "Trip")
    #expect(FailurePolicy().actions(for: facts).last == .pause(.seconds(seconds)))
  }

  @Test(arguments: [
    (FailureClass.event, "23505" as String?, [FailureAction.skip]), (.event, "22P02", [.skip]),
    (.definition, "42P01", [.stop]),
    (.order, "TM301", [.pause(.seconds(10)), .pause(.seconds(10)), .stop]), (.unknownEvent, nil, [.ignore]),
    (
      .transient, "40001",
      [
        .retry(after: .milliseconds(250)), .retry(after: .milliseconds(500)), .retry(after: .seconds(1)),
        .pause(.seconds(30)),
      ]
    ),
  ])
  func `by default follows from its class`(failureClass: FailureClass, state: String?, actions: [FailureAction]) {
    #expect(FailurePolicy().actions(for: facts(failureClass, state)) == actions)
  }

  @Test func `is a stop where nothing may be skipped`() {
    let strict = FailurePolicy(skipApplyErrors: false, skipSerializationErrors: true, skipUnknownEvents: false)
    #expect(strict.actions(for: facts(.event, "23505")) == [.stop])
    #expect(strict.actions(for: facts(.event, "22P02")) == [.skip])
    #expect(strict.actions(for: facts(.unknownEvent)) == [.stop])
    #expect(strict.looksAtUnknownEvents(of: "Trip") && !FailurePolicy().looksAtUnknownEvents(of: "Trip"))
  }

  @Test func `is what the first rule says that matches in every respect`() {
    let policy = FailurePolicy(rules: [
      FailureRule(sqlStates: ["23*"], projections: ["Day"], actions: [.stop]),
      FailureRule(sqlStates: ["23505"], message: "trip_.*key", actions: [.ignore]),
      FailureRule(classes: [.event], actions: [.pause(.seconds(1))]),
      FailureRule(actions: [.stopAll]),
    ])
    #expect(policy.actions(for: facts(.event, "23503", in: "Day")) == [.stop])
    #expect(policy.actions(for: facts(.event, "23505", "violates trip_id_key")) == [.ignore])
    #expect(policy.actions(for: facts(.event, "23505", "violates other")) == [.pause(.seconds(1))])
    #expect(policy.actions(for: facts(.transient, "40001")) == [.stopAll])
  }

  @Test func `looks for an event only where it can be one event's fault, or the operator says so`() {
    let policy = FailurePolicy(rules: [
      FailureRule(sqlStates: ["55P03"], actions: [.retry(after: .zero), .skip]),
      FailureRule(sqlStates: ["42P01"], actions: [.stop]),
    ])
    #expect(policy.looksFor(["22012", "23505", "20000", "P0001", "MY001", "55P03"]) == [true])
    #expect(policy.looksFor(["40P01", "42P01", "42601", "57014", "TM301", "TM305"]) == [false])
    let wide = FailurePolicy(rules: [
      FailureRule(message: "x", actions: [.skip]), FailureRule(sqlStates: ["42*"], actions: [.skip]),
      FailureRule(sqlStates: ["42704"], actions: [.ignore]),
    ])
    #expect(wide.looksFor(["40P01", "53100", "55P03", "55006", "57014", "58030", "72000", "XX000", "42704"]) == [true])
    #expect(wide.looksFor(["42P01", "55000", "TM301"]) == [false])
    #expect(wide.actions(for: facts(.definition, "42P01", "x")) == [.stop])
  }

  @Test func `passes over what counts as a definition only where its code is named whole`() {
    func actions(_ states: [String], _ found: String) -> [FailureAction] {
      let policy = FailurePolicy(rules: [FailureRule(sqlStates: states, actions: [.skip])])
      return policy.actions(for: facts(FailureClass.classify(sqlState: found), found))
    }
    #expect(actions(["42601"], "42601") == [.skip] && actions(["42704", "42601"], "42601") == [.skip])
    #expect(
      actions(["42601"], "42P01") == [.stop] && actions(["42*"], "42601") == [.stop] && actions([], "42601") == [.stop])
    #expect(actions(["MY0*"], "MY001") == [.skip] && actions(["55*"], "55P03") == [.skip])
  }

  @Test(arguments: [
    ("23505", true), ("23*", true), ("MY001", true), ("MY*", true), ("42601", true), ("42501", true), ("55P03", true),
    ("40*", true), ("57014", true), ("TM506", true), ("42*", false), ("55*", false), ("0A*", false), ("08006", false),
    ("08*", false), ("57P01", false), ("25P03", false), ("TM301", false), ("TM*", false),
  ])
  func `cannot be to pass an event over for a code that no event has`(pattern: String, isPossible: Bool) {
    #expect((FailureClass.objection(toPassingOver: pattern) == nil) == isPossible)
  }

  @Test func `looks at events without a statement where some rule may mean them`() {
    func looks(_ rules: [FailureRule], skips: Bool = true) -> Bool {
      FailurePolicy(rules: rules, skipUnknownEvents: skips).looksAtUnknownEvents(of: "Trip")
    }
    #expect(looks([FailureRule(classes: [.unknownEvent], message: "of type odd", actions: [.stop])]))
    #expect(looks([FailureRule(message: "of type odd", actions: [.skip])]))
    #expect(!looks([FailureRule(classes: [.unknownEvent], message: "of type odd", actions: [.ignore])]))
    #expect(looks([FailureRule(classes: [.unknownEvent], message: "odd", actions: [.ignore])], skips: false))
    #expect(!looks([FailureRule(classes: [.unknownEvent], actions: [.ignore]), FailureRule(actions: [.stop])]))
    #expect(!looks([FailureRule(classes: [.event], message: "odd", actions: [.stop])]))
    #expect(!looks([FailureRule(projections: ["Day"], actions: [.stop])]))
  }
}

extension FailurePolicy {
  /// Whether it looks for the event that fails with each of these codes.
  fileprivate func looksFor(_ states: [String]) -> Set<Bool> {
    Set(states.map { state in isolable.contains { state.firstMatch(of: try! Regex($0)) != nil } })
  }
}
