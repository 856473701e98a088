import Rules
import Testing

/// One thing that is different about a store.
private struct Change: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let apply: @Sendable (inout StoreFacts) -> Void

  init(_ what: String, _ apply: @escaping @Sendable (inout StoreFacts) -> Void) {
    testDescription = what
    self.apply = apply
  }
}

@Suite struct `The preflight` {
  private func facts(_ change: (inout StoreFacts) -> Void = { _ in }) -> StoreFacts {
    var facts = StoreFacts(table: "public.mt_events", sequence: .init(name: "public.mt_events_sequence"))
    change(&facts)
    return facts
  }

  @Test func `proves a plain store, and says by what`() {
    let plain = Preflight(facts())
    #expect(plain.findings.isEmpty)
    #expect(
      plain.verdict
        == "order: public.mt_events.seq_id, drawn by the writer from public.mt_events_sequence (CACHE 1, +1): proven by the sequence's lock"
    )
    let cached = Preflight(facts { $0.sequence.cache = 20 })
    #expect(
      cached.findings.isEmpty && cached.verdict.hasSuffix("(CACHE 20, +1): proven by the sequence's lock and a horizon")
    )
  }

  /// Each breaks the proof, alone.
  private static let breaks = [
    Change("row security") { $0.rowSecurity = .reader(role: "tidemark") },
    Change("row security of the view") { $0.rowSecurity = .viewOwner(role: "owner") },
    Change("CYCLE") { $0.sequence.cycles = true },
    Change("downwards") { $0.sequence.increment = -1 },
    Change("pooled numbers") {
      $0.sequence.increment = 50
      $0.numbersBetweenSteps = [52]
    },
    Change("a temporary sequence") { $0.sequence.persistence = .temporary },
    Change("a temporary table") { $0.persistence = .temporary },
    Change("a view") { $0.kind = .view },
    Change("a foreign table") { $0.kind = .foreignTable },
    Change("a subscriber") { $0.subscriptions = ["from_shop"] },
    Change("a foreign partition") {
      $0.leaves = [StoreFacts.Leaf(name: "public.away")]
      $0.leaves[0].isForeign = true
    },
    Change("a function as default") { $0.numberDefault = "public.next_number()" },
    Change("arithmetic") { $0.numberDefault = "(nextval('public.mt_events_sequence'::regclass) * 2)" },
    Change("another sequence") { $0.numberDefault = "nextval('public.other'::regclass)" },
    Change("no integer") { $0.numberType = "numeric" },
    Change("another engine") { $0.foreignEngine = "citus" },
  ]

  @Test(arguments: breaks)
  fileprivate func `refuses what breaks the proof`(change: Change) {
    let preflight = Preflight(facts(change.apply), accepted: Set(Preflight.Acceptance.allCases))
    #expect(preflight.refusals.count == 1, "\(preflight.findings)")
    #expect(preflight.verdict == "order: public.mt_events.seq_id: not proven")
    #expect(preflight.refusals.allSatisfy { !$0.hint.isEmpty })
  }

  private static let doubts: [(Preflight.Acceptance, Change)] = [
    (.increment, Change("steps") { $0.sequence.increment = 50 }),
    (.insertTriggers, Change("a trigger") { $0.insertTriggers = ["renumber on public.mt_events"] }),
    (.insertTriggers, Change("a rule") { $0.insertRules = ["elsewhere"] }),
    (
      .leafDefaults,
      Change("a partition's default") {
        $0.leaves = [StoreFacts.Leaf(name: "public.leaf", numberDefault: "nextval('public.other'::regclass)")]
      }
    ),
  ]

  @Test(arguments: doubts)
  fileprivate func `asks about what may break it, and takes the operator's word`(
    word: Preflight.Acceptance, change: Change
  ) {
    let asked = Preflight(facts(change.apply))
    #expect(asked.refusals.map(\.outcome) == [.ask(word)])
    #expect(asked.refusals[0].hint.contains("event_store.accept = [\"\(word.rawValue)\"]"))
    #expect(Preflight(facts(change.apply), accepted: [word]).findings.isEmpty)
    let others = Set(Preflight.Acceptance.allCases).subtracting([word])
    #expect(Preflight(facts(change.apply), accepted: others).refusals.count == 1)
  }

  private static let weaknesses = [
    Change("an unlogged table") { $0.persistence = .unlogged },
    Change("an unlogged sequence") { $0.sequence.persistence = .unlogged },
    Change("a sequence below the numbers") { $0.highestVisible = 7 },
    Change("an integer near its end") {
      $0.numberType = "integer"
      $0.handedOut = 2_000_000_001
    },
  ]

  @Test(arguments: weaknesses)
  fileprivate func `warns of what the proof survives`(change: Change) {
    let preflight = Preflight(facts(change.apply))
    #expect(preflight.refusals.isEmpty && preflight.warnings.count == 1)
    #expect(preflight.verdict.hasSuffix("proven by the sequence's lock"))
  }

  @Test(arguments: [
    "nextval('mt_events_sequence'::regclass)", "nextval('public.mt_events_sequence'::regclass)",
  ])
  func `takes a default that draws from the sequence`(text: String) {
    let preflight = Preflight(facts { $0.numberDefault = text })
    #expect(preflight.findings.isEmpty && preflight.verdict.contains("drawn by default from"))
  }
}
