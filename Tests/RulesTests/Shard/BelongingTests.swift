import Rules
import Testing

@Suite struct `Whether position and tables belong together` {
  private static func trip(
    _ start: StartPosition = .beginning, _ onMismatch: OnMismatch = .wait, tables: [String] = ["trip"]
  ) -> Belonging {
    Belonging(
      ProjectionDefinition(
        name: "Journey", tables: tables, effect: .batch([Statement(text: "SELECT 1")]), start: start,
        onMismatch: onMismatch))
  }

  private static let old = Belonging.Other("Trip:All", at: 40, fills: "trip")
  private static let empty = Belonging.Table("trip", hasRows: false)
  private static let full = Belonging.Table("trip", hasRows: true)

  struct New: Sendable {
    var start = StartPosition.beginning
    var onMismatch = OnMismatch.wait
    var first: Int64? = 0
    var table = Whether.empty
    var filler = false
    var namesake = false
  }

  enum Whether: Sendable { case empty, full }

  @Test(
    arguments: [
      (New(), nil), (New(table: .full), "has rows"), (New(start: .sequence(9), table: .full), "has rows"),
      (New(start: .time("2026-01-01"), table: .full), "has rows"), (New(onMismatch: .continue, table: .full), nil),
      // The application filled it, or nothing of the past is to be in it.
      (New(start: .present, first: 50, table: .full), nil), (New(start: .inlineHandover, first: 50, table: .full), nil),
      (New(filler: true), "tidemark move Trip:All Journey:All"),
      (New(table: .full, filler: true), "tidemark move Trip:All Journey:All"),
      (New(onMismatch: .continue, table: .full, filler: true), nil),
      // What lies between the old position and the new one would be in neither.
      (New(start: .present, first: 50, table: .full, filler: true), "Trip:All, at 40, fills its table trip"),
      (New(start: .present, first: 40, table: .full, filler: true), nil),
      (New(start: .present, first: nil, table: .full, filler: true), nil),
      (New(start: .inlineHandover, first: 41, filler: true), "Trip:All, at 40, fills its table trip"),
      (New(namesake: true), "did the same work up to 40"), (New(onMismatch: .continue, namesake: true), nil),
      (New(start: .present, first: 41, namesake: true), "did the same work up to 40"),
      (New(start: .present, first: 40, namesake: true), nil),
    ] as [(New, String?)])
  func `keeps a shard without a position from tables that are filled`(new: New, expected: String?) {
    let verdict = Self.trip(new.start, new.onMismatch).ofNew(
      at: new.first, [new.table == .full ? Self.full : Self.empty], fillers: new.filler ? [Self.old] : [],
      namesakes: new.namesake ? [Belonging.Other("Trip:All", at: 40)] : [])
    guard let expected else {
      #expect(verdict == .fits)
      return
    }
    guard case .wait(let problem) = verdict else {
      Issue.record("\(verdict)")
      return
    }
    #expect(problem.code == .store(.mismatch) && problem.reason.contains(expected), "\(problem.reason)")
  }

  /// Its rows were there before it: it would have nothing to do otherwise.
  @Test(
    arguments: [
      ("UPDATE trip SET n = n + 1", true), ("DELETE FROM trip", true), ("-- all\n(UPDATE trip SET n = 1", true),
      ("INSERT INTO trip SELECT 1", false), ("MERGE INTO trip USING batch ON true WHEN MATCHED THEN DELETE", false),
      ("WITH a AS (INSERT INTO trip SELECT 1 RETURNING 1) UPDATE trip SET n = 2", false), ("SELECT fill_trip()", false),
    ])
  func `keeps one that only updates and deletes from no rows`(statement: String, begins: Bool) {
    let belonging = Belonging(
      ProjectionDefinition(name: "Journey", tables: ["trip"], effect: .batch([Statement(text: statement)])))
    let verdict = belonging.ofNew(at: 0, [Self.full], fillers: [], namesakes: [])
    #expect((verdict == .fits) == begins, "\(verdict)")
  }

  enum Outcome: Sendable { case fits, doubtful, wait }

  @Test(
    arguments: [
      ([full], true, true, .fits), ([empty], true, true, .fits), ([full], false, true, .fits),
      // A position of another program's, or a table that was made for it today.
      ([empty], false, true, .wait), ([empty], false, false, .fits), ([empty, full], false, true, .fits),
      // Created again.
      ([Belonging.Table("trip", hasRows: false, isOther: true)], true, true, .wait),
      ([Belonging.Table("trip", hasRows: false, isOther: true)], true, false, .fits),
      ([Belonging.Table("trip", hasRows: true, isOther: true)], true, true, .doubtful),
      ([full, Belonging.Table("leg", hasRows: false, isOther: true)], true, true, .wait),
      ([empty, Belonging.Table("leg", hasRows: true, isOther: true)], true, true, .doubtful),
      ([], false, true, .fits),
    ] as [([Belonging.Table], Bool, Bool, Outcome)])
  func `keeps a shard at a position from tables that lack its events`(
    tables: [Belonging.Table], isKnown: Bool, hasEvents: Bool, expected: Outcome
  ) async {
    let verdict = await Self.trip().of(tables, at: 40, isKnown: isKnown) { hasEvents }
    switch (verdict, expected) {
    case (.fits, .fits), (.doubtful, .doubtful), (.wait, .wait): break
    default: Issue.record("\(verdict), expected \(expected)")
    }
    #expect(await Self.trip(.beginning, .continue).of(tables, at: 40, isKnown: isKnown) { hasEvents } == .fits)
  }

  @Test func `lets one that began at the present continue on an empty table`() async {
    #expect(await Self.trip(.present).of([Self.empty], at: 40, isKnown: false, hasEvents: { true }) == .fits)
  }

  @Test func `names the table that lacks them, and how it gets them`() async {
    let tables = [Self.full, Belonging.Table("leg", hasRows: false, isOther: true)]
    guard case .wait(let problem) = await Self.trip().of(tables, at: 40, isKnown: true, hasEvents: { true }) else {
      Issue.record("it does not wait")
      return
    }
    #expect(problem.message.contains("its table leg is an empty table that was created since"), "\(problem.message)")
    #expect(problem.hint?.contains("tidemark rebuild Journey") == true)
  }
}
