import Projection
import Testing

@Suite struct `What is done about a failure` {
  private func facts(
    _ failureClass: FailureClass, _ state: String? = nil, _ message: String = "", in projection: String = "Trip"
  )
    -> FailureFacts
  {
    FailureFacts(failureClass, sqlState: state, message: message, projection: projection)
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
    #expect(policy.isolable.contains("23%") && !policy.isolable.contains("40%"))
    let wide = FailurePolicy(rules: [
      FailureRule(message: "x", actions: [.skip]), FailureRule(sqlStates: ["42*"], actions: [.skip]),
    ])
    #expect(wide.isolable.contains("40%") && !wide.isolable.contains("42%"))
    #expect(wide.actions(for: facts(.definition, "42P01", "x")) == [.stop])
    #expect(!policy.isolable.contains("42P01"))
  }
}
