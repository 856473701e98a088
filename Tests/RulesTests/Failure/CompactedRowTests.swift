import Rules
import Testing

@Suite struct `A row in place of compacted events` {
  private func definition(
    _ effect: Effect, events: [String]? = nil, accepts: [String] = []
  ) -> ProjectionDefinition {
    ProjectionDefinition(name: "Trip", events: events, effect: effect, acceptCompacted: accepts)
  }

  private static let sum = Effect.batch([Statement(text: "SELECT 1 FROM batch")])

  @Test func `is passed by a projection that lists its type, or accepts its aggregate`() throws {
    #expect(definition(Self.sum, events: ["travel"]).passableCompacted == [])
    #expect(definition(Self.sum, events: ["travel", "Compacted<Trip>"]).passableCompacted == ["Compacted<Trip>"])
    #expect(definition(Self.sum, accepts: ["Trip"]).passableCompacted == ["Compacted<Trip>"])
    let bound = try SQLText.bind(Statement(text: "SELECT 1"))
    #expect(definition(.perEvent(["Compacted<Trip>": bound])).passableCompacted == ["Compacted<Trip>"])
  }

  @Test func `is taken by a statement over all types that has its name as a literal`() {
    let branch = Effect.batch([
      Statement(text: "SELECT 1 FROM batch -- 'Compacted<Bus>'"),
      Statement(text: "SELECT 1 FROM batch WHERE type = 'Compacted<Trip>' OR type = 'it''s'"),
    ])
    #expect(definition(branch).passableCompacted == ["Compacted<Trip>"])
    #expect(definition(branch, events: ["travel"]).passableCompacted == [], "its events are those that it lists")
  }

  @Test func `is said with its stream, and with what to do`() {
    let row = CompactedRow(sequence: 5, stream: "s", version: 4, type: "Compacted<Trip>")
    let problem = row.problem(for: definition(Self.sum, events: ["travel"]))
    #expect(problem.code == .raised(.compacted) && problem.sequence == 5)
    #expect(problem.message.contains("stream s up to version 4"))
    #expect(problem.hint?.contains("accept_compacted = [\"Trip\"]") == true)
    #expect(FailureClass.of(.raised(.compacted)) == .event)
  }

  /// Other failures of an event's own are skipped by default.
  @Test func `stops the shard, unless a rule says something else`() {
    let facts = FailureFacts(.event, sqlState: "TM311", projection: "Trip")
    #expect(FailurePolicy().actions(for: facts) == [.stop])
    let rule = FailureRule(sqlStates: ["TM311"], actions: [.skip])
    #expect(FailurePolicy(rules: [rule]).actions(for: facts) == [.skip])
    #expect(FailureClass.objection(toPassingOver: "TM311") == nil)
  }
}
