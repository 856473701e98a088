import Rules
import Testing

/// A store as its readers see it at one moment, and a performer that looks at nothing else.
private struct Tick {
  var time = 0
  var handedOut: Int64
  var visible: Set<Int64>
  var holders: [HighWater.Holder] = []

  init(
    at time: Int = 0, handedOut: Int64, visible: some Sequence<Int64>, holders: [HighWater.Holder] = []
  ) {
    self.time = time
    self.handedOut = handedOut
    self.visible = Set(visible)
    self.holders = holders
  }

  /// Runs the tick to its end, again while there is more to do; the last advance carries every passed gap.
  @discardableResult
  func run(_ rule: inout HighWater) -> HighWater.Advance {
    var passed: [HighWater.PassedGap] = []
    while true {
      let reading = HighWater.Reading(
        serverTime: .milliseconds(time), handedOut: handedOut, highestVisible: visible.max() ?? 0, holders: holders)
      guard case .lookUpGaps(let from, let limit, let events) = rule.read(reading) else {
        return HighWater.Advance(mark: rule.mark, passed: passed, hold: rule.hold)
      }
      let seen = visible.filter { $0 > from && $0 <= limit }.sorted().prefix(Int(events))
      let to = seen.count < events ? limit : seen.last!
      let gaps = (from + 1...to).filter { !visible.contains($0) }.map { $0...$0 }
      var advance = rule.lookedUp(gaps: gaps, from: from, to: to)
      passed += advance.passed
      advance.passed = passed
      if !advance.moreToDo { return advance }
    }
  }
}

private func writer(_ name: String, prepared: Bool = false) -> HighWater.Holder {
  HighWater.Holder(virtualTransaction: name, isPrepared: prepared)
}

private func inserter(_ name: String) -> HighWater.Holder {
  HighWater.Holder(virtualTransaction: name, onSequence: false, onEvents: true)
}

private func quick(_ mark: Int64? = nil, longHold: HighWater.LongHold = .init(), scanLimit: Int64 = 20_000) -> HighWater
{
  HighWater(policy: .init(append: .quick, longHold: longHold, scanLimit: scanLimit), restoredMark: mark)
}

private func rich(_ mark: Int64? = 0, longHold: HighWater.LongHold = .init()) -> HighWater {
  HighWater(policy: .init(append: .rich, longHold: longHold), restoredMark: mark)
}

@Suite struct `High water, numbers drawn where they are inserted` {
  @Test func `an empty store has mark 0 and is settled`() {
    var rule = quick()
    #expect(rule.needsHolders(handedOut: 0, highestVisible: 0))
    Tick(handedOut: 0, visible: []).run(&rule)
    #expect(rule.mark == 0)
    #expect(rule.isSettled)
    #expect(!rule.needsHolders(handedOut: 0, highestVisible: 0))
  }

  @Test func `contiguous events reach the highest`() {
    var rule = quick()
    Tick(handedOut: 5, visible: 1...5).run(&rule)
    #expect(rule.mark == 5)
  }

  @Test func `a first start on many events with nobody writing costs no look-up`() {
    var rule = quick()
    let reading = HighWater.Reading(
      serverTime: .zero, handedOut: 100_000_000, highestVisible: 100_000_000, holders: [])
    #expect(rule.read(reading) == .done)
    #expect(rule.mark == 100_000_000)
  }

  @Test func `the mark stops at the first gap whose writer lives`() {
    var rule = quick(0)
    Tick(handedOut: 0, visible: []).run(&rule)
    let advance = Tick(at: 20, handedOut: 7, visible: [1, 2, 4, 6, 7], holders: [writer("3/1")]).run(&rule)
    #expect(rule.mark == 2)
    #expect(advance.hold?.number == 3)
    #expect(advance.hold?.keptBy == .transactions(["3/1"]))
  }

  @Test func `a gap right after the start is found`() {
    var rule = quick(0)
    Tick(handedOut: 5, visible: 2...5, holders: [writer("3/1")]).run(&rule)
    #expect(rule.mark == 0)
  }

  @Test func `several rolled-back numbers are passed at the next tick, without a report`() {
    var rule = quick(0)
    Tick(handedOut: 9, visible: [2, 5, 9], holders: [writer("3/1")]).run(&rule)
    let advance = Tick(at: 10, handedOut: 9, visible: [2, 5, 9]).run(&rule)
    #expect(advance.mark == 9)
    #expect(advance.passed.isEmpty)
    #expect(rule.hold == nil)
  }

  @Test func `a reserved tail with nothing committed asks for no look-up and is no hold`() {
    var rule = quick(3)
    let reading = HighWater.Reading(serverTime: .zero, handedOut: 9, highestVisible: 3, holders: [writer("3/1")])
    #expect(rule.read(reading) == .done)
    #expect(rule.mark == 3)
    #expect(rule.hold == nil)
    #expect(rule.needsHolders(handedOut: 9, highestVisible: 3))
  }

  @Test func `a restart resumes at the persisted mark and trusts no holder of its first tick`() {
    var rule = quick(50)
    Tick(handedOut: 60, visible: Set(1...60).subtracting([55]), holders: [writer("3/1")]).run(&rule)
    #expect(rule.mark == 54)
  }

  @Test func `a slow transaction holds only what is above its floor`() {
    var rule = quick(0)
    Tick(handedOut: 10, visible: [10]).run(&rule)
    // 3/1 drew 11 and 12, and rolled 11 back to a savepoint; 13 died with another transaction.
    Tick(at: 10, handedOut: 13, visible: [10], holders: [writer("3/1")]).run(&rule)
    #expect(rule.mark == 10)
    // 4/1 comes later: its floor is 13, so when 3/1 ends everything up to there is settled.
    Tick(at: 20, handedOut: 15, visible: [10, 15], holders: [writer("3/1"), writer("4/1")]).run(&rule)
    #expect(rule.mark == 10)
    Tick(at: 30, handedOut: 15, visible: [10, 12, 15], holders: [writer("4/1")]).run(&rule)
    #expect(rule.mark == 13)
  }

  @Test func `a holder seen first after idle ticks that read no holders is above the mark`() {
    var rule = quick(0)
    Tick(handedOut: 10, visible: 1...10).run(&rule)
    #expect(!rule.needsHolders(handedOut: 10, highestVisible: 10))
    #expect(rule.needsHolders(handedOut: 12, highestVisible: 10))
    Tick(at: 60_000, handedOut: 12, visible: Set(1...12).subtracting([11]), holders: [writer("3/1")]).run(&rule)
    #expect(rule.mark == 10)
  }

  @Test func `a prepared transaction under a new name keeps the mark where it is`() {
    var rule = quick(0)
    Tick(handedOut: 4, visible: [1, 2, 4], holders: [writer("3/1")]).run(&rule)
    Tick(at: 10, handedOut: 6, visible: [1, 2, 4, 5, 6], holders: [writer("-1/700", prepared: true)]).run(&rule)
    #expect(rule.mark == 2)
    Tick(at: 20, handedOut: 6, visible: 1...6).run(&rule)
    #expect(rule.mark == 6)
  }

  @Test func `a transaction that began and was prepared between two ticks holds its number`() {
    var rule = quick(0)
    Tick(handedOut: 4, visible: 1...4).run(&rule)
    Tick(at: 10, handedOut: 6, visible: [1, 2, 3, 4, 6], holders: [writer("3/9", prepared: true)]).run(&rule)
    #expect(rule.mark == 4)
  }

  @Test func `a holder listed twice, once live and once prepared, gets the lower floor`() {
    var rule = quick(2)
    Tick(handedOut: 9, visible: [9]).run(&rule)
    Tick(at: 10, handedOut: 12, visible: [12], holders: [writer("3/1"), writer("3/1", prepared: true)]).run(&rule)
    #expect(rule.mark == 9)
  }

  @Test func `a lock on the events alone holds nothing`() {
    var rule = quick(0)
    Tick(handedOut: 4, visible: [1, 4], holders: [inserter("3/1")]).run(&rule)
    #expect(rule.mark == 4)
  }

  @Test func `a hold keeps its beginning and tells how long it has lasted`() {
    var rule = quick(0)
    for time in stride(from: 0, through: 12_000, by: 250) {
      Tick(at: time, handedOut: 3, visible: [2, 3], holders: [writer("3/1")]).run(&rule)
    }
    #expect(rule.hold?.since == .zero)
    #expect(rule.hold?.lasted == .seconds(12))
  }

  @Test func `one look-up reads no more events than the limit, and says when there is more`() {
    var rule = quick(0, scanLimit: 10)
    let reading = HighWater.Reading(serverTime: .zero, handedOut: 26, highestVisible: 26, holders: [writer("3/1")])
    #expect(rule.read(reading) == .lookUpGaps(from: 0, to: 26, events: 10))
    #expect(rule.lookedUp(gaps: [], from: 0, to: 10) == HighWater.Advance(mark: 10, moreToDo: true))
    #expect(rule.read(reading) == .lookUpGaps(from: 10, to: 26, events: 10))
    #expect(rule.lookedUp(gaps: [], from: 10, to: 20).moreToDo)
    #expect(rule.read(reading) == .lookUpGaps(from: 20, to: 26, events: 10))
    let last = rule.lookedUp(gaps: [25...25], from: 20, to: 26)
    #expect(last.mark == 24)
    #expect(!last.moreToDo)
    #expect(last.hold?.number == 25)
  }

  @Test func `a gap that stays is not looked at with everything behind it`() {
    var rule = quick(0)
    let reading = HighWater.Reading(
      serverTime: .zero, handedOut: 90_000, highestVisible: 90_000, holders: [writer("3/1")])
    #expect(rule.read(reading) == .lookUpGaps(from: 0, to: 90_000, events: 20_000))
    _ = rule.lookedUp(gaps: [1...1], from: 0, to: 20_001)
    #expect(rule.read(reading) == .lookUpGaps(from: 0, to: 90_000, events: 256))
    _ = rule.lookedUp(gaps: [], from: 0, to: 256)
    #expect(rule.read(reading) == .lookUpGaps(from: 256, to: 90_000, events: 20_000))
  }

  @Test func `an answer to another question is ignored`() {
    var rule = quick(0)
    _ = rule.read(.init(serverTime: .zero, handedOut: 9, highestVisible: 9, holders: [writer("3/1")]))
    #expect(rule.lookedUp(gaps: [], from: 0, to: 12).mark == 0)
  }

  @Test func `a jump of the sequence is crossed by one look-up, and is one gap`() {
    let jump: Int64 = 3_000_000_000_000
    var rule = rich(10)
    Tick(handedOut: 10, visible: []).run(&rule)
    var looks = 0
    var passed: [HighWater.PassedGap] = []
    for time in stride(from: 0, through: 8_000, by: 1_000) {
      let reading = HighWater.Reading(
        serverTime: .milliseconds(time), handedOut: jump + 1, highestVisible: jump + 1, holders: [])
      guard case .lookUpGaps(let from, let limit, _) = rule.read(reading) else { continue }
      looks += 1
      passed += rule.lookedUp(gaps: [from + 1...jump], from: from, to: limit).passed
      if rule.mark == jump + 1 { break }
    }
    #expect(rule.mark == jump + 1)
    #expect(passed == [.init(range: 11...jump, reason: .grace)])
    #expect(looks < 9)
  }
}

@Suite struct `High water, sequences that are not what they seem` {
  @Test func `a sequence below the mark is refused with both numbers`() {
    var rule = quick(100)
    let reading = HighWater.Reading(serverTime: .zero, handedOut: 60, highestVisible: 60, holders: [])
    #expect(rule.read(reading) == .refuse(.sequenceBelowMark(handedOut: 60, mark: 100)))
    #expect(rule.mark == 100)
  }

  @Test func `a sequence below the mark is refused though the events are still there`() {
    var rule = quick(100)
    let reading = HighWater.Reading(serverTime: .zero, handedOut: 1, highestVisible: 100, holders: [])
    #expect(rule.read(reading) == .refuse(.sequenceBelowMark(handedOut: 1, mark: 100)))
  }

  @Test func `after a refusal the proof begins anew`() {
    var rule = quick(100)
    _ = rule.read(.init(serverTime: .zero, handedOut: 60, highestVisible: 60, holders: []))
    Tick(at: 10, handedOut: 103, visible: Set(1...103).subtracting([101]), holders: [writer("3/1")]).run(&rule)
    #expect(rule.mark == 100)
  }

  @Test func `a sequence set back above the mark invalidates every floor`() {
    var rule = quick(0)
    Tick(handedOut: 2, visible: [1, 2]).run(&rule)
    Tick(at: 10, handedOut: 90, visible: [1, 2, 90], holders: [writer("3/1")]).run(&rule)
    Tick(at: 20, handedOut: 10, visible: [1, 2, 10], holders: [writer("3/1"), writer("4/1")]).run(&rule)
    #expect(rule.mark == 2)
  }

  @Test func `the mark never passes the sequence, since what lies above it will be drawn again`() {
    var rule = quick()
    Tick(at: 7, handedOut: 5, visible: Set(1...5).union([8, 9])).run(&rule)
    #expect(rule.mark == 5)
    #expect(rule.hold?.keptBy == .sequenceBehind(highestVisible: 9))
    #expect(!rule.isSettled)
    Tick(at: 17, handedOut: 9, visible: Set(1...5).union([8, 9])).run(&rule)
    #expect(rule.mark == 9)
    #expect(rule.hold == nil)
  }
}

@Suite struct `High water, with the horizon` {
  @Test func `contiguous numbers are passed at once`() {
    var rule = rich()
    let advance = Tick(handedOut: 5, visible: 1...5).run(&rule)
    #expect(advance == HighWater.Advance(mark: 5))
  }

  @Test func `a gap is passed after the grace, and reported`() {
    var rule = rich()
    Tick(handedOut: 5, visible: [1, 2, 4, 5]).run(&rule)
    #expect(rule.mark == 2)
    #expect(rule.hold?.keptBy == .grace)
    for time in stride(from: 250, to: 3_000, by: 250) {
      Tick(at: time, handedOut: 5, visible: [1, 2, 4, 5]).run(&rule)
      #expect(rule.mark == 2)
    }
    let advance = Tick(at: 3_000, handedOut: 5, visible: [1, 2, 4, 5]).run(&rule)
    #expect(advance.mark == 5)
    #expect(advance.passed == [.init(range: 3...3, reason: .grace)])
  }

  @Test func `constant traffic does not hold a dead gap up`() {
    var rule = rich()
    var visible: Set<Int64> = []
    for tick in 0...15 {
      let number = Int64(tick + 1)
      if number != 3 { visible.insert(number) }
      Tick(at: tick * 250, handedOut: number, visible: visible, holders: [inserter("3/\(tick)")]).run(&rule)
    }
    #expect(rule.mark == 16)
  }

  @Test func `a slow inserting transaction holds the mark for as long as it lives`() {
    var rule = rich()
    for time in stride(from: 0, through: 60_000, by: 250) {
      Tick(at: time, handedOut: 5, visible: [1, 2, 4, 5], holders: [inserter("3/1")]).run(&rule)
    }
    #expect(rule.mark == 2)
    #expect(rule.hold?.keptBy == .transactions(["3/1"]))
    #expect(rule.hold?.lasted == .seconds(60))
  }

  @Test func `a transaction that took its lock just after a tick may bring a number from a whole grace before`() {
    var rule = rich()
    Tick(at: 0, handedOut: 0, visible: []).run(&rule)
    // 1 is drawn at 190, to be inserted by a transaction that takes its lock at 3,180: within the grace.
    for time in stride(from: 200, through: 3_100, by: 100) {
      Tick(at: time, handedOut: 2, visible: [2]).run(&rule)
    }
    // The tick at 3,250 meets the holder. By now the horizon has reached 2; when the holder came it had not.
    Tick(at: 3_250, handedOut: 2, visible: [2], holders: [inserter("3/1")]).run(&rule)
    #expect(rule.mark == 0)
    Tick(at: 3_300, handedOut: 2, visible: [1, 2]).run(&rule)
    #expect(rule.mark == 2)
  }

  @Test func `a first look jumps over what is old, and reports what is missing shortly before it and after`() {
    var rule = HighWater(policy: .init(append: .rich, lookBack: 10), restoredMark: nil)
    let visible = Set<Int64>(1...104).subtracting([7, 8, 90, 91, 102])
    Tick(handedOut: 100, visible: visible.intersection(1...100)).run(&rule)
    #expect(rule.mark == 6)
    for time in stride(from: 1_000, to: 3_000, by: 1_000) {
      Tick(at: time, handedOut: 104, visible: visible).run(&rule)
    }
    #expect(rule.mark == 6)
    let reading = HighWater.Reading(serverTime: .seconds(3), handedOut: 104, highestVisible: 104, holders: [])
    #expect(rule.read(reading) == .lookUpGaps(from: 90, to: 104, events: 256))
    let advance = rule.lookedUp(gaps: [91...91, 102...102], from: 90, to: 104)
    #expect(advance.passed == [.init(range: 91...91, reason: .grace)])
    #expect(rule.mark == 101)
    let late = Tick(at: 4_000, handedOut: 104, visible: visible).run(&rule)
    #expect(late.passed == [.init(range: 102...102, reason: .grace)])
  }

  @Test func `a tail that nobody inserts is passed and reported too`() {
    var rule = rich()
    for time in stride(from: 0, to: 3_000, by: 1_000) { Tick(at: time, handedOut: 32, visible: [1]).run(&rule) }
    let advance = Tick(at: 3_000, handedOut: 32, visible: [1]).run(&rule)
    #expect(advance.mark == 32)
    #expect(advance.passed.map(\.range.upperBound).last == 32)
    #expect(rule.isSettled)
  }

  @Test func `a cache on the sequence brings the horizon to quick writers`() {
    var rule = HighWater(policy: .init(append: .quick, cached: true), restoredMark: 0)
    Tick(handedOut: 32, visible: [2]).run(&rule)
    #expect(rule.mark == 0)
  }

  @Test func `a clock set back delays the grace, and one set forward does not end it`() {
    var back = rich()
    Tick(at: 10_000, handedOut: 2, visible: [2]).run(&back)
    for time in stride(from: 4_000, to: 7_000, by: 500) { Tick(at: time, handedOut: 2, visible: [2]).run(&back) }
    #expect(back.mark == 0)
    Tick(at: 7_000, handedOut: 2, visible: [2]).run(&back)
    #expect(back.mark == 2)

    var forward = rich()
    Tick(at: 0, handedOut: 2, visible: [2]).run(&forward)
    Tick(at: 3_600_000, handedOut: 2, visible: [2]).run(&forward)
    #expect(forward.mark == 0)
  }
}

@Suite struct `High water, long holds` {
  let skip = HighWater.LongHold(after: .seconds(2), action: .skip)

  @Test func `nothing is ever skipped by default`() {
    var rule = quick(0)
    for time in stride(from: 0, through: 3_600_000, by: 1_000) {
      Tick(at: time, handedOut: 3, visible: [2, 3], holders: [writer("3/1")]).run(&rule)
    }
    #expect(rule.mark == 0)
  }

  @Test func `a skipped hold lets the mark go on to the next floor and records every gap on the way`() {
    var rule = quick(0, longHold: skip)
    let visible: Set<Int64> = [2, 3, 5, 6, 8]
    Tick(at: 0, handedOut: 6, visible: [2, 3, 5, 6], holders: [writer("3/1")]).run(&rule)
    Tick(at: 1_000, handedOut: 8, visible: visible, holders: [writer("3/1"), writer("4/1")]).run(&rule)
    #expect(rule.mark == 0)
    let advance = Tick(at: 2_000, handedOut: 8, visible: visible, holders: [writer("3/1"), writer("4/1")]).run(&rule)
    #expect(advance.mark == 6)
    #expect(
      advance.passed == [
        .init(range: 1...1, reason: .skippedLongHold), .init(range: 4...4, reason: .skippedLongHold),
      ])
    #expect(advance.hold?.keptBy == .transactions(["4/1"]))
    #expect(advance.hold?.since == .seconds(2))
    #expect(rule.steppedOver == ["3/1"])
    Tick(at: 3_000, handedOut: 8, visible: visible, holders: [writer("4/1")]).run(&rule)
    #expect(rule.steppedOver == [])
  }

  @Test func `what a skipped transaction draws later is recorded when it is passed`() {
    var rule = quick(0, longHold: skip)
    for time in [0, 1_000, 2_000] { Tick(at: time, handedOut: 2, visible: [2], holders: [writer("3/1")]).run(&rule) }
    #expect(rule.mark == 2)
    let advance = Tick(at: 3_000, handedOut: 4, visible: [2, 4], holders: [writer("3/1")]).run(&rule)
    #expect(advance.passed == [.init(range: 3...3, reason: .skippedLongHold)])
    let after = Tick(at: 4_000, handedOut: 6, visible: [2, 4, 6]).run(&rule)
    #expect(after == HighWater.Advance(mark: 6))
  }

  @Test func `a transaction that has long been known but has only now come to hold is waited for`() {
    var rule = quick(0, longHold: skip)
    for time in stride(from: 0, through: 5_000, by: 1_000) {
      Tick(at: time, handedOut: 2, visible: [1, 2], holders: [writer("3/1")]).run(&rule)
    }
    Tick(at: 6_000, handedOut: 4, visible: [1, 2, 4], holders: [writer("3/1")]).run(&rule)
    Tick(at: 7_000, handedOut: 4, visible: [1, 2, 4], holders: [writer("3/1")]).run(&rule)
    #expect(rule.mark == 2)
  }
}
