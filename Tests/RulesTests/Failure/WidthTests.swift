import Rules
import Testing

@Suite struct `A page that is too much` {
  private func shard(at position: Int64 = 0, mark: Int64 = 100_000) -> Shard {
    var shard = Shard(name: ShardName(projection: "Trip"))
    _ = shard.markMoved(to: mark)
    _ = shard.positionRead(position)
    return shard
  }

  @Test(
    arguments: [
      ("57014", nil, true), ("25P04", nil, true), ("53200", nil, true), ("53400", nil, true), ("53100", nil, true),
      ("54000", nil, true), ("54001", nil, true), ("22003", nil, true), ("22008", nil, true),
      ("XX000", "repalloc", true), ("XX000", "MemoryContextAllocHuge", true), ("XX000", "palloc0", true),
      ("XX000", nil, false), ("XX000", "get_relid_attribute_name", false), ("53300", nil, false),
      ("22P02", nil, false), ("23505", nil, false), ("40P01", nil, false), ("55P03", nil, false), ("42P01", nil, false),
      ("57P01", nil, false), ("25006", nil, false), ("21000", nil, false),
    ] as [(String, String?, Bool)])
  func `is told from others by what the server says`(code: String, routine: String?, isLikely: Bool) {
    #expect(TooWide.isLikely(sqlState: code, routine: routine) == isLikely)
  }

  @Test func `is halved at once, down to one number, before the policy decides anything`() {
    var shard = shard()
    var widths: [Int64] = []
    var command = shard.positionRead(0)
    while case .apply(let page) = command {
      widths.append(page.width)
      let next = shard.failed(.transient, "timeout", actions: [.stop], page: page, width: .dependent)
      guard next == .wait(.zero) else {
        #expect(next == .stop)
        break
      }
      #expect(shard.isNarrowing)
      command = shard.positionRead(0)
    }
    #expect(widths == [1_000, 500, 250, 125, 62, 31, 15, 7, 3, 1])
    #expect(!shard.isNarrowing && shard.condition == .stopped("timeout"))
  }

  @Test func `is no trouble the first time, and is one when the narrower one fails too`() {
    var shard = shard()
    let page = Page(floor: 0, ceiling: 1_000)
    _ = shard.failed(.transient, "timeout", actions: [], page: page, width: .dependent)
    #expect(shard.condition.reason == nil)
    let half = Page(floor: 0, ceiling: 500)
    _ = shard.failed(.transient, "timeout", actions: [], page: half, width: .dependent)
    #expect(shard.condition == .retrying("timeout"))
  }

  @Test func `is divided by the search where the policy skips its events, and not twice`() {
    var shard = shard()
    let page = Page(floor: 0, ceiling: 1_000)
    #expect(shard.failed(.event, "too long", actions: [.skip], page: page, width: .dependent) == .wait(.zero))
    #expect(!shard.isNarrowing)
    #expect(shard.positionRead(0) == .isolate(page, chunk: 0))
    // A timeout ends the search too, so the page it searches is narrower.
    #expect(shard.failed(.transient, "timeout", actions: [.skip], page: page, width: .dependent) == .wait(.zero))
    #expect(shard.positionRead(0) == .isolate(Page(floor: 0, ceiling: 500), chunk: 0))
  }

  @Test func `whose session the server ended waits for the server, without a delay`() {
    var shard = shard()
    let page = Page(floor: 0, ceiling: 1_000)
    #expect(
      shard.failed(.connection, "transaction timeout", actions: [], page: page, width: .dependent)
        == .awaitDatabase(after: .zero))
    #expect(shard.positionRead(0) == .apply(Page(floor: 0, ceiling: 500)))
  }

  @Test func `is suspected when its session is lost again, not when it is lost once`() {
    var shard = shard()
    let page = Page(floor: 0, ceiling: 1_000)
    func lose() -> Shard.Command { shard.failed(.connection, "gone", actions: [], page: page, width: .suspected) }
    #expect(lose() == .awaitDatabase(after: .zero))
    #expect(shard.positionRead(0) == .apply(page))
    #expect(lose() == .awaitDatabase(after: .zero))
    #expect(shard.positionRead(0) == .apply(Page(floor: 0, ceiling: 500)))
    // A page in between forgets the first.
    _ = shard.pageApplied(Page(floor: 0, ceiling: 500), took: .milliseconds(1))
    _ = lose()
    #expect(!shard.isNarrowing)
  }

  @Test func `for a plugin is retried at once while it is handed fewer events, whatever numbers the page spans`() {
    var shard = shard()
    let page = Page(floor: 0, ceiling: 1_000)
    #expect(
      shard.failed(.transient, "silent", actions: [.stop], page: page, width: .narrowed) == .wait(.zero))
    #expect(shard.positionRead(0) == .apply(page))
    #expect(shard.failed(.transient, "silent", actions: [.stop], page: page) == .stop)
  }

  /// Pages against a server that bears a limit: how wide each was.
  private func run(pages: Int, _ bears: (Int) -> Int64) -> [Int64] {
    var width = PageWidth()
    return (0..<pages).map { number in
      let page = width.next(floor: 0, mark: .max)!
      if page.width > bears(number) {
        let canNarrow = width.tooWide(page)
        #expect(canNarrow)
      } else {
        width.applied(page, took: .milliseconds(1), behind: .max)
      }
      return page.width
    }
  }

  @Test func `is tried again ever more rarely, and the rate stays near the limit`() {
    let widths = run(pages: 4_000) { _ in 700 }
    let failed = widths.indices.filter { widths[$0] > 700 }
    // Ten to find the limit, then after 8, 16, 32 … pages.
    #expect(failed.count < 14, "\(failed)")
    #expect(zip(failed.suffix(4), failed.suffix(3)).allSatisfy { $1 - $0 >= 256 })
    #expect(widths.suffix(1_000).min()! >= 250)
  }

  @Test func `is wide again some time after the limit is gone`() {
    let widths = run(pages: 400) { $0 < 50 ? 3 : .max }
    #expect(widths[..<50].contains(1) || widths[..<50].contains(3))
    #expect(widths.last! >= 1_000)
  }

  @Test func `does not make the width leave its limit whatever the times are`() {
    var random = SplitMix64(seed: walkSeed())
    var width = PageWidth()
    for _ in 0..<10_000 {
      guard let page = width.next(floor: 0, mark: Int64(random.below(500_000)) + 1) else { continue }
      #expect(page.width > 0 && page.width <= PageWidth.Bounds.live.limits.upperBound)
      if random.below(4) == 0 {
        let canNarrow = width.tooWide(page)
        #expect(canNarrow == (page.width > 1))
        #expect(width.next(floor: 0, mark: .max)!.width <= max(1, page.width / 2))
      } else {
        width.applied(page, took: .microseconds(random.below(5_000_000)), behind: 1_000)
      }
    }
  }
}

@Suite struct `An agent that cannot do its work` {
  private let start = ContinuousClock.now

  @Test func `says so after some seconds, then rarely, and when it works again`() {
    var trouble = AgentTrouble()
    let reports = stride(from: 0.0, through: 300, by: 0.5).filter {
      trouble.failed(at: start + .seconds($0)) != nil
    }
    #expect(reports == [3, 63, 183])
    #expect(trouble.worked(at: start + .seconds(310)) == .seconds(310))
    #expect(trouble.worked(at: start + .seconds(320)) == nil)
  }

  @Test func `for a moment says nothing, also not that it works again`() {
    var trouble = AgentTrouble()
    #expect(trouble.failed(at: start) == nil)
    #expect(trouble.failed(at: start + .seconds(2)) == nil)
    #expect(!trouble.isTold)
    #expect(trouble.worked(at: start + .seconds(2.5)) == nil)
    // The next failure is another one.
    #expect(trouble.failed(at: start + .seconds(60)) == nil)
  }

  @Test func `because it waits counts the time it has waited`() {
    var trouble = AgentTrouble()
    #expect(trouble.failed(at: start, after: .seconds(3)) == .seconds(3))
  }
}
