import Rules
import Testing

@Suite struct `What a rebuild does next` {
  private let swap = ExchangeChoice(.swap, reason: "nothing else depends on the tables")

  @Test func `makes new tables first, unless they are there already`() {
    let rule = Rebuild(choice: swap, mayCopy: true)
    #expect(rule.begin(isPrepared: false) == .prepare)
    #expect(rule.begin(isPrepared: true) == .measure)
  }

  @Test(
    arguments: [
      (0, 1_000_000, Rebuild.Command.replay(to: 1_000_000)), (0, 1_001, .replay(to: 1_001)),
      (999_000, 1_000_000, .close(ExchangeChoice(.swap, reason: "nothing else depends on the tables"))),
      (5, 5, .close(ExchangeChoice(.swap, reason: "nothing else depends on the tables"))),
      (0, 0, .close(ExchangeChoice(.swap, reason: "nothing else depends on the tables"))),
    ] as [(Int64, Int64, Rebuild.Command)])
  func `replays while it is far from the live shard, and closes near it`(
    position: Int64, live: Int64, command: Rebuild.Command
  ) {
    #expect(Rebuild(choice: swap, mayCopy: true).measured(position: position, live: live) == command)
  }

  @Test func `is near when the rest takes less than half a second at the rate it has measured`() {
    var rule = Rebuild(choice: swap, mayCopy: true)
    #expect(rule.replayed(1_000_000, took: .seconds(2)) == .measure)
    #expect(rule.measured(position: 1_000_000, live: 1_250_000) == .close(swap))
    #expect(rule.measured(position: 1_000_000, live: 1_250_001) == .replay(to: 1_250_001))
  }

  @Test func `is nearer for a plugin, which may take its time for each event while the live shard waits`() {
    let rule = Rebuild(choice: swap, mayCopy: true, near: Rebuild.nearForPlugin)
    #expect(rule.measured(position: 0, live: 11) == .replay(to: 11))
    #expect(rule.measured(position: 0, live: 10) == .close(swap))
  }

  @Test func `applies what is left before it closes again, where a page failed at the end`() {
    var rule = Rebuild(choice: swap, mayCopy: true)
    #expect(rule.faltered() == .measure)
    #expect(rule.measured(position: 9, live: 10) == .replay(to: 10))
    #expect(rule.measured(position: 10, live: 10) == .close(swap))
    #expect(rule.replayed(1, took: .seconds(30)) == .measure)
    #expect(rule.measured(position: 10, live: 11) == .close(swap))
  }

  private static func plugin(_ effects: PluginDefinition.Effects, rebuildsExternal: Bool) -> ProjectionDefinition {
    let plugin = PluginDefinition(program: .exec(["mailer"]), effects: effects, rebuildsExternal: rebuildsExternal)
    return ProjectionDefinition(name: "Mailer", effect: .plugin(plugin))
  }

  @Test func `comes to new tables, to a replay, or to nothing`() throws {
    #expect(try ProjectionDefinition(name: "Trip", effect: .batch([])).rebuildKind() == .tables)
    #expect(try Self.plugin(.database, rebuildsExternal: false).rebuildKind() == .tables)
    #expect(try Self.plugin(.external, rebuildsExternal: true).rebuildKind() == .replay)
    #expect {
      try Self.plugin(.external, rebuildsExternal: false).rebuildKind()
    } throws: { error in
      (error as? Problem)?.code == .rebuild(.plugin)
    }
  }

  @Test func `ends at the sequence it was told, wherever the live shard stands`() {
    let rule = Rebuild(choice: swap, mayCopy: true, upTo: 5_000)
    #expect(rule.measured(position: 0, live: 90_000) == .replay(to: 5_000))
    #expect(rule.measured(position: 5_000, live: 90_000) == .close(swap))
  }

  @Test func `copies in the end where readers are always in the way of a swap that nobody insisted on`() {
    var rule = Rebuild(choice: swap, mayCopy: true)
    var insisted = Rebuild(choice: swap, mayCopy: false)
    for _ in 0..<20 {
      #expect(rule.choice.way == .swap)
      #expect(rule.hindered() == insisted.hindered())
    }
    #expect(
      rule.measured(position: 1, live: 1)
        == .close(ExchangeChoice(.copy, reason: "readers blocked a swap 20 times")))
    #expect(insisted.measured(position: 1, live: 1) == .close(swap))
    #expect(insisted.hindered() == .wait(.seconds(2)))
  }

  private static let free = ExchangeChoice.Obstacles(table: "public.trip", found: [])
  private static let viewed = ExchangeChoice.Obstacles(table: "public.day", found: ["view busy", "trigger t"])

  @Test(arguments: [
    (RequestedWay.auto, false, [free], ExchangeWay.swap, "nothing else depends on the tables"),
    (.auto, false, [free, viewed], .copy, "view busy, trigger t on public.day"),
    (.auto, true, [free], .copy, "only some rows are rebuilt"),
    (.copy, false, [free], .copy, "as asked"), (.swap, false, [free], .swap, "as asked"),
  ])
  func `chooses a swap where nothing would be lost, and says why not`(
    requested: RequestedWay, isPartial: Bool, obstacles: [ExchangeChoice.Obstacles], way: ExchangeWay, reason: String
  ) throws {
    #expect(
      try ExchangeChoice.choose(requested, isPartial: isPartial, obstacles) == ExchangeChoice(way, reason: reason))
  }

  @Test func `refuses a swap that would lose something`() {
    #expect {
      try ExchangeChoice.choose(.swap, isPartial: false, [Self.viewed])
    } throws: { error in
      (error as? Problem)?.description
        == "the tables cannot be swapped because of view busy, trigger t on public.day (TM323)"
    }
    #expect(throws: Problem.self) { try ExchangeChoice.choose(.swap, isPartial: true, [Self.free]) }
  }

  @Test func `refuses a copy before anything is made where it could not end well`() throws {
    let news = ExchangeChoice.Objection(what: "publication news carries no delete", fix: "Publish it.")
    let published = ExchangeChoice.Obstacles(table: "public.trip", found: ["publication news"], objections: [news])
    let numbered = ExchangeChoice.Obstacles(
      table: "public.trip", found: ["foreign key t"], referredKeys: ["id"], fixedNumbers: ["number"])
    for (obstacles, hint) in [
      ([published], "Publish it."),
      ([numbered, Self.free], "Run: ALTER TABLE public.trip ALTER COLUMN number SET GENERATED BY DEFAULT"),
    ] {
      #expect {
        try ExchangeChoice.choose(.auto, isPartial: false, obstacles)
      } throws: { error in
        (error as? Problem)?.code == .rebuild(.wrongWay) && (error as? Problem)?.hint == hint
      }
    }
    // One table keeps the numbers of the rows that stay, which no other table of the projection holds.
    #expect(try ExchangeChoice.choose(.auto, isPartial: false, [numbered]).way == .copy)
  }

  @Test(arguments: [
    (["a", "b"], [:], ["a", "b"]), (["child", "parent"], ["child": ["parent"]], ["parent", "child"]),
    (["a", "b", "c"], ["a": ["b"], "b": ["c"], "c": ["elsewhere"]], ["c", "b", "a"]),
    (["a", "b"], ["a": ["b"], "b": ["a"]], ["b", "a"]),
  ])
  func `writes tables after those they refer to`(tables: [String], references: [String: [String]], order: [String]) {
    #expect(ExchangeChoice.inOrder(tables, references: references) == order)
  }
}
