import Rules
import Testing

@Suite struct `A shard` {
  private func started(at position: Int64, mark: Int64) -> (Shard, Shard.Command) {
    var shard = Shard(name: ShardName(projection: "Trip"))
    _ = shard.markMoved(to: mark)
    let command = shard.positionRead(position)
    return (shard, command)
  }

  @Test func `has Marten's names`() {
    #expect("\(ShardName(projection: "Trip"))" == "Trip:All")
    #expect("\(ShardName(projection: "Trip", version: 2))" == "Trip:V2:All")
  }

  @Test func `at the mark waits for more`() {
    let (shard, command) = started(at: 10, mark: 10)
    #expect(command == .awaitMark(above: 10))
    #expect(shard.condition == .following)
  }

  @Test func `below the mark applies up to it`() {
    #expect(started(at: 0, mark: 7).1 == .apply(Page(floor: 0, ceiling: 7)))
  }

  @Test func `far below the mark applies a page of its width`() {
    #expect(started(at: 5, mark: 1_000_000).1 == .apply(Page(floor: 5, ceiling: 5 + PageWidth.Bounds.live.initial)))
  }

  @Test func `goes on from where the page ended, also when it was cut`() {
    var (shard, _) = started(at: 0, mark: 500)
    let command = shard.pageApplied(Page(floor: 0, ceiling: 120), took: .milliseconds(5))
    #expect(command == .apply(Page(floor: 120, ceiling: 500)))
  }

  @Test func `crosses the numbers that no event has in one page, and learns no width from it`() {
    var (shard, _) = started(at: 0, mark: 9_000_000_000)
    let width = PageWidth.Bounds.live.initial
    let command = shard.pageApplied(Page(floor: 0, ceiling: width), took: .milliseconds(1), nextEvent: 5_000_000_000)
    let page = Page(floor: width, ceiling: 4_999_999_999 + shard.width.width)
    #expect(command == .apply(page))
    let learned = shard.width
    #expect(
      shard.pageApplied(page, took: .milliseconds(1))
        == .apply(Page(floor: page.ceiling, ceiling: page.ceiling + learned.width)))
    #expect(shard.width == learned)
  }

  @Test func `goes up to the mark of its last page where no event follows, and no further`() {
    var (shard, _) = started(at: 0, mark: 5_000_000)
    let first = Page(floor: 0, ceiling: PageWidth.Bounds.live.initial)
    #expect(
      shard.pageApplied(first, took: .milliseconds(1), nextEvent: .max)
        == .apply(Page(floor: first.ceiling, ceiling: 5_000_000)))
    // Events have come since the look.
    #expect(
      shard.markMoved(to: 9_000_000)
        == .apply(Page(floor: first.ceiling, ceiling: 5_000_000 + shard.width.width)))
  }

  @Test func `never goes below its position when a mark is lower`() {
    var (shard, _) = started(at: 10, mark: 10)
    #expect(shard.markMoved(to: 4) == .awaitMark(above: 10))
  }

  @Test func `tries again forever after transient failures, and reads its position each time`() {
    var (shard, _) = started(at: 0, mark: 7)
    let delays = (0..<6).map { _ in shard.failed(.transient, "deadlock", actions: chain(.transient)) }
    #expect(
      delays == [
        .wait(.milliseconds(250)), .wait(.milliseconds(500)), .wait(.seconds(1)), .pause(.seconds(30)),
        .wait(.milliseconds(250)), .wait(.milliseconds(500)),
      ])
    #expect(shard.condition == .retrying("deadlock"))
    #expect(shard.positionRead(0) == .apply(Page(floor: 0, ceiling: 7)))
    _ = shard.pageApplied(Page(floor: 0, ceiling: 7), took: .milliseconds(1))
    #expect(shard.condition == .following)
    #expect(shard.failed(.transient, "again", actions: chain(.transient)) == .wait(.milliseconds(250)))
  }

  @Test func `waits for a database that is away`() {
    var (shard, _) = started(at: 0, mark: 7)
    // At once when it answers again; where it answers others and not this shard, at growing distance.
    #expect(
      (0..<6).map { _ in shard.failed(.connection, "gone", actions: []) }
        == [0, 250, 500, 1000, 5000, 5000].map { .awaitDatabase(after: .milliseconds($0)) })
  }

  @Test func `looks for a poison event, and for as long as there are some`() {
    var (shard, _) = started(at: 0, mark: 5_000)
    #expect(shard.failed(.event, "poison", actions: chain(.event)) == .wait(.zero))
    #expect(shard.positionRead(0) == .isolate(Page(floor: 0, ceiling: 1_000), chunk: 0))
    #expect(
      shard.pageIsolated(Page(floor: 0, ceiling: 1_000), events: 500, poison: 5)
        == .isolate(Page(floor: 1_000, ceiling: 2_000), chunk: 70))
    #expect(
      shard.pageIsolated(Page(floor: 1_000, ceiling: 2_000), events: 500, poison: 0)
        == .apply(Page(floor: 2_000, ceiling: 3_000)))
  }

  @Test(arguments: [(1, 1_000, 700), (10, 1_000, 70), (20, 500, 35), (500, 100, 8)])
  func `takes pages of some ten poison events while it looks for them`(poison: Int, width: Int64, chunk: Int) {
    var (shard, _) = started(at: 0, mark: 5_000)
    _ = shard.failed(.event, "poison", actions: chain(.event))
    _ = shard.positionRead(0)
    #expect(
      shard.pageIsolated(Page(floor: 0, ceiling: 1_000), events: 1_000, poison: poison)
        == .isolate(Page(floor: 1_000, ceiling: 1_000 + width), chunk: chunk))
  }

  @Test func `is not led astray by one page with few poison events`() {
    var (shard, _) = started(at: 0, mark: 5_000)
    _ = shard.failed(.event, "poison", actions: chain(.event))
    _ = shard.positionRead(0)
    #expect(
      shard.pageIsolated(Page(floor: 0, ceiling: 1_000), events: 1_000, poison: 20)
        == .isolate(Page(floor: 1_000, ceiling: 1_500), chunk: 35))
    // Two in 500 where ten were expected: 2,500 by itself, 833 with the half of what was known.
    #expect(
      shard.pageIsolated(Page(floor: 1_000, ceiling: 1_500), events: 500, poison: 2)
        == .isolate(Page(floor: 1_500, ceiling: 2_333), chunk: 58))
  }

  @Test func `goes through a chain step by step, and stops when it has run out`() {
    var (shard, _) = started(at: 0, mark: 7)
    let actions: [FailureAction] = [.retry(after: .seconds(1)), .pause(.seconds(60)), .retry(after: .seconds(2))]
    let commands = (0..<4).map { _ in shard.failed(.event, "poison", actions: actions) }
    #expect(commands == [.wait(.seconds(1)), .pause(.seconds(60)), .wait(.seconds(2)), .stop])
    #expect(shard.condition == .stopped("poison (no actions are left)"))
  }

  @Test func `begins a chain again after a pause at its end, after a success, and for another failure`() {
    var (shard, _) = started(at: 0, mark: 7)
    let one: [FailureAction] = [.retry(after: .seconds(1)), .pause(.seconds(60))]
    #expect(
      (0..<3).map { _ in shard.failed(.event, "a", actions: one) } == [
        .wait(.seconds(1)), .pause(.seconds(60)), .wait(.seconds(1)),
      ])
    #expect(shard.failed(.event, "b", actions: [.retry(after: .seconds(9))]) == .wait(.seconds(9)))
    #expect(shard.failed(.event, "a", actions: one) == .wait(.seconds(1)))
    _ = shard.pageApplied(Page(floor: 0, ceiling: 7), took: .milliseconds(1))
    #expect(shard.failed(.event, "a", actions: one) == .wait(.seconds(1)))
  }

  @Test func `holds its position for a definition that cannot work`() {
    var (shard, _) = started(at: 0, mark: 7)
    #expect(shard.failed(.definition, "no such table", actions: chain(.definition)) == .stop)
    #expect(shard.condition == .stopped("no such table"))
    #expect(shard.startAfresh() == .readPosition && shard.condition == .starting)
  }

  @Test func `passes two kinds of failure in one page over, each after its own steps`() {
    var (shard, _) = started(at: 0, mark: 5_000)
    let page = Page(floor: 0, ceiling: 1_000)
    let chains: [[FailureAction]] = [
      [.retry(after: .milliseconds(10)), .skip], [.retry(after: .milliseconds(20)), .skip],
    ]
    for (chain, delay) in zip(chains, [10, 20]) {
      #expect(shard.failed(.event, "bad", actions: chain) == .wait(.milliseconds(delay)))
      #expect(shard.failed(.event, "bad", actions: chain) == .wait(.zero))
      #expect(shard.positionRead(0) == .isolate(page, chunk: 0))
    }
    #expect(shard.passingChains == Set(chains))
    _ = shard.pageIsolated(page, events: 1_000, poison: 2)
    #expect(shard.passingChains == Set(chains))
    _ = shard.pageIsolated(Page(floor: 1_000, ceiling: 2_000), events: 1_000, poison: 0)
    #expect(shard.passingChains.isEmpty)
  }

  @Test func `follows again after a pause that ends at the mark, and has not forgotten why it paused`() {
    var (shard, _) = started(at: 0, mark: 7)
    #expect(shard.failed(.order, "moved", actions: chain(.order)) == .pause(.seconds(10)))
    #expect(shard.positionRead(7) == .awaitMark(above: 7))
    #expect(shard.condition == .following)
    let commands = (0..<2).map { _ in shard.failed(.order, "moved", actions: chain(.order)) }
    #expect(commands == [.pause(.seconds(10)), .stop])
  }

  private func chain(_ failureClass: FailureClass) -> [FailureAction] {
    FailurePolicy().actions(for: FailureFacts(failureClass, projection: "Trip"))
  }

  @Test func `gives way when another program keeps moving its position`() {
    var (shard, _) = started(at: 0, mark: 7)
    let commands = (0..<3).map { _ in shard.failed(.order, "moved", actions: chain(.order)) }
    #expect(commands == [.pause(.seconds(10)), .pause(.seconds(10)), .stop])
    #expect(shard.condition == .stopped("moved"))
  }
}

@Suite struct `The class of a failure` {
  @Test(arguments: [
    ("TM301", FailureClass.order), ("08006", .connection), ("57P01", .connection), ("40P01", .transient),
    ("40001", .transient),
    ("53100", .transient), ("55P03", .transient), ("57014", .transient), ("XX000", .transient), ("22P02", .event),
    ("22012", .event),
    ("23505", .event), ("P0001", .event), ("42P01", .definition), ("42703", .definition), ("42601", .definition),
    ("42501", .definition),
    ("0A000", .definition), ("25006", .connection), ("20000", .event), ("MY001", .event), ("UE123", .event),
    ("TM304", .definition), ("55006", .transient), ("55000", .definition), ("57000", .transient),
    ("57P04", .connection),
    ("25P03", .connection), ("25P04", .connection), ("72000", .transient), ("HV000", .definition),
  ])
  func `follows from its SQLSTATE`(code: String, expected: FailureClass) {
    #expect(FailureClass.classify(sqlState: code) == expected)
  }
}

@Suite struct `The width of a page` {
  /// Other programs write positions too.
  @Test(arguments: [Int64.min, -1, 0, .max - 1, .max])
  func `takes every number that a position can have`(position: Int64) {
    var width = PageWidth()
    for mark in [Int64.min, 0, .max] {
      let page = width.next(floor: position, mark: mark)
      #expect((page != nil) == (mark > position))
      guard let page else { continue }
      #expect(page.ceiling > page.floor && page.width > 0)
      width.applied(page, took: .milliseconds(1), behind: mark.less(page.ceiling))
    }
  }

  /// Runs pages against a server whose time for a page is given by the width, far behind the mark.
  private func settle(pages: Int = 400, _ took: (Int64) -> Duration) -> [Int64] {
    var width = PageWidth()
    return (0..<pages).map { _ in
      let page = width.next(floor: 0, mark: .max)!
      width.applied(page, took: took(page.width), behind: .max)
      return page.width
    }
  }

  @Test func `grows while the rate does`() {
    // 50 ms a page and 10 µs an event: up to 100,000 twice as wide is better by more than a twentieth.
    let widths = settle { .milliseconds(50) + .microseconds(10) * Double($0) }
    #expect(widths.suffix(100).min()! >= 25_600)
    #expect(widths.max()! <= PageWidth.Bounds.live.limits.upperBound)
  }

  @Test func `stays where the rate is best`() {
    // Beyond 16,000 the server starts to spill.
    let widths = settle { .milliseconds(5) + .microseconds($0 > 16_000 ? 30 : 10) * Double($0) }
    let typical = widths.suffix(200).sorted()[100]
    #expect((4_000...16_000).contains(typical))
  }

  @Test func `comes down when a page takes too long`() {
    let widths = settle(pages: 20) { .milliseconds(10) * Double($0) }
    #expect(widths.last! <= 200)
  }

  /// Nobody waits for a page of a rebuild: it may take seconds where a live one, near the mark, may not.
  @Test func `of a rebuild grows beyond that of a live page`() {
    func settled(_ bounds: PageWidth.Bounds) -> Int64 {
      var width = PageWidth(bounds)
      for _ in 0..<20 {
        let page = width.next(floor: 0, mark: 2_000_000)!
        width.applied(page, took: .microseconds(page.width), behind: 500_000)
      }
      return width.width
    }
    #expect(settled(.live) <= 250_000 && settled(.rebuild) == 1_000_000)
  }

  @Test(arguments: [PageWidth.Bounds.live, .rebuild])
  func `never leaves its limits, whatever the times are`(bounds: PageWidth.Bounds) {
    var random = SplitMix64(seed: walkSeed())
    var width = PageWidth(bounds)
    for _ in 0..<10_000 {
      let floor = Int64(random.below(1_000_000))
      let mark = floor + Int64(random.below(500_000))
      guard let page = width.next(floor: floor, mark: mark) else {
        #expect(mark == floor)
        continue
      }
      #expect(
        page.floor == floor && page.ceiling <= mark && page.width <= bounds.limits.upperBound && page.width > 0)
      width.applied(page, took: .microseconds(random.below(5_000_000)), behind: mark - page.ceiling)
      #expect(bounds.limits.contains(width.width))
    }
  }
}
