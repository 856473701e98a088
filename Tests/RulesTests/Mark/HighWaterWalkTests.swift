import Rules
import Testing

@Suite struct `High water, by random walks` {
  struct Case: CustomTestStringConvertible, Sendable {
    var writers: SimulatedStore.Writers
    var skips = false
    var histories: Int
    var testDescription: String { "\(writers)\(skips ? ", long holds skipped" : "")" }
  }

  @Test(arguments: [
    Case(writers: .quick, histories: 60_000), Case(writers: .rich, histories: 60_000),
    Case(writers: .cached, histories: 25_000), Case(writers: .quick, skips: true, histories: 10_000),
    Case(writers: .rich, skips: true, histories: 10_000),
  ])
  func `no event is passed unseen and the mark always arrives`(_ example: Case) throws {
    let seed = walkSeed()
    print("high water, \(example.testDescription): TIDEMARK_SEED=\(seed)")
    if let found = violation(in: example, seed: seed, make: { HighWater(policy: $0, restoredMark: $1) }) {
      Issue.record("TIDEMARK_SEED=\(found.seed): \(found.what)")
    }
  }

  @Test(arguments: Omission.allCases)
  func `a rule that leaves something out is found out`(_ omission: Omission) {
    for writers in omission.showsUnder {
      let found = violation(in: Case(writers: writers, histories: 20_000), seed: walkSeed()) {
        PlainRule(omission, policy: $0, restoredMark: $1)
      }
      #expect(found != nil, "\(writers)")
    }
  }

  @Test func `the plain rule that the omissions are made of is sound`() {
    for writers in [SimulatedStore.Writers.quick, .rich] {
      let found = violation(in: Case(writers: writers, histories: 3_000), seed: walkSeed()) {
        PlainRule(nil, policy: $0, restoredMark: $1)
      }
      #expect(found == nil, "\(String(describing: found))")
    }
  }

  @Test(arguments: [Departure.holdersBeforeSequence, .holdersOnlyWhenSequenceMoved])
  func `a performer that departs from what the rule asks is found out`(_ departure: Departure) {
    let found = violation(in: Case(writers: .quick, histories: 20_000), seed: walkSeed(), departure: departure) {
      HighWater(policy: $0, restoredMark: $1)
    }
    #expect(found != nil)
  }

  private func violation(
    in example: Case, seed: UInt64, departure: Departure = .none, make: @escaping HighWaterWalk.Make
  ) -> (seed: UInt64, what: HighWaterWalk.Stop)? {
    for history in 0..<example.histories {
      let seed = seed &+ UInt64(history)
      var walk = HighWaterWalk(
        seed: seed, writers: example.writers, skips: example.skips, departure: departure, make: make)
      do { try walk.run() } catch { return (seed, error) }
    }
    return nil
  }
}
