// How the daemon knows that nothing is missing
//
// An event gets its number when its transaction calls `nextval`, and becomes visible when that transaction commits. So a
// reader can see 7 while 6 is still on its way, or while 6 is dead and will never come. From the events alone the two
// look the same. A lock tells them apart: `nextval` takes RowExclusiveLock on the sequence *before* it draws, and the
// transaction keeps the lock until it ends, even if it rolls back to a savepoint, and even as a prepared transaction.
// PostgreSQL first makes a transaction's rows visible and then releases its locks. `pg_locks` lists the holders.
//
// A tick reads, one after the other, each with a snapshot of its own:
//
//   1. `handedOut`: the highest number the sequence has given away,
//   2. `holders`: the transactions that hold the lock now,
//   3. if the mark may be blocked: which numbers above the mark have no visible event.
//
// Take any number n ≤ handedOut. It was drawn before (1), so its transaction held the lock before (1), so at (2) that
// transaction is either among the holders or over. If it committed, the snapshot of (3), and every later one, sees the
// event. If it rolled back, n is dead. So with no holders all of 1...handedOut is settled.
//
// Each holder has a *floor*: all its numbers are above it. A new holder was absent when the previous tick read the
// holders, so it drew its numbers after that, and after that tick's `handedOut` was read: that is its floor. Where we
// cannot say that (a first tick; a prepared transaction, which may be an old one under a new name), the mark is the
// floor, because the mark is below everything unsettled. A floor stays true for as long as the transaction lives.
//
//     settled = min(handedOut, every holder's floor)
//
// Everything up to `settled` is visible or dead. Above it the mark may still pass a number that is visible to (3). So the
// mark moves to `settled`, and on through visible numbers up to the first that is missing. It never goes back.
//
// The horizon
//
// Some writers reserve numbers in one transaction and insert the events in another (Marten's Rich append), and a
// sequence with a cache gives numbers to a session that uses them later. In between nothing holds a lock, and no proof
// is possible. We grant such a number a grace: we assume that its inserting transaction takes its first lock (on the
// sequence or on the event table) within `gapGrace` of the drawing. Then the same argument holds with one value replaced. Let
//
//     horizon = the highest number handed out by (now − gapGrace), by the samples of earlier ticks.
//
// A number ≤ horizon was drawn before (now − gapGrace), so its transaction has taken its lock by now, before (2): it is
// among the holders or over. A new holder took its first lock after the *previous tick* read its holders, so its
// numbers were drawn less than a grace before that: they are above the horizon *of the previous tick*. They need not be
// above that of this tick: the horizon moves between two ticks, and the holder may have come right after the first.
//
//     settled = min(horizon, every holder's floor),   floor = the horizon of the previous tick
//
// Without a grace the horizon is `handedOut` itself, so this is one rule, not two. Nothing proves a gap that the horizon
// passes, so `Advance.passed` lists every such gap; the performer must record it no later than in the transaction that
// stores the mark, so that a late arrival can be noticed.
//
// What the performer must do
//
// The reads are separate statements under READ COMMITTED, in the order above, on the primary. The clock is read after
// the sequence and before the holders: `clock_timestamp()` in the select list over the sequence, never `now()`. One
// `HighWater` lives as long as one session: after a lost connection, and so after every restart of the server, make
// another from the persisted mark; its first tick takes the mark as every floor.

/// The high-water rule: up to which number every event is visible or will never come.
package struct HighWater: Sendable {
  package let policy: Policy
  /// Everything up to here is settled. Never falls, and never passes what the sequence has handed out.
  package private(set) var mark: Int64
  /// The hold that keeps the mark below a visible event, as of the last tick.
  package private(set) var hold: Hold?

  /// Numbers up to here were handed out so long before the first look at this store that no writer is expected to insert them any
  /// more: the mark passes them without a look-up. Nil before the very first reading.
  private var bygone: Int64?
  /// As of the last reading; nil if the next one must treat every holder as an old one.
  private var handedOut: Int64?
  private var highestVisible: Int64 = 0
  /// The floor of a holder first seen at the next reading: the horizon of the last one.
  private var newcomersFloor: Int64 = 0
  private var holders: [String: Known] = [:]
  private var history = HandedOutHistory()
  private var clock: SteadyClock
  private var lookUp: LookUp?
  private var span: Int64
  private var holdBegan: Duration = .zero

  /// A rule that begins at the mark an earlier run persisted, or, with nil, at the very first look at a store.
  package init(policy: Policy, restoredMark: Int64?) {
    self.policy = policy
    self.mark = restoredMark ?? 0
    self.bygone = restoredMark == nil ? nil : 0
    self.clock = SteadyClock(longestStep: max(policy.gapGrace / 2, .seconds(1)))
    self.span = policy.scanLimit
  }

  /// Whether nothing is outstanding: the mark is at the last number handed out.
  package var isSettled: Bool { handedOut == mark && highestVisible <= mark }

  /// The transactions, by `virtualTransaction`, longest known first, that `on_long_hold` no longer waits for and that were alive at the
  /// last reading.
  package var steppedOver: [String] {
    holders.filter(\.value.isSteppedOver).sorted { ($0.value.firstSeen, $0.key) < ($1.value.firstSeen, $1.key) }.map(
      \.key)
  }

  /// Whether a tick must read the holders, or can end after the sequence.
  ///
  /// With nothing outstanding and the sequence where it was, no number is above the mark, so there is nothing to settle;
  /// this holds under the horizon too. A tick that ends here leaves no trace in the rule: the next full reading compares
  /// with the last full one, so a holder first seen then still gets a floor from before it came, only an older one.
  package func needsHolders(handedOut: Int64, highestVisible: Int64) -> Bool {
    !(isSettled && handedOut == self.handedOut && highestVisible <= handedOut)
  }

  /// Steps 1 and 2: takes in the reading, moves the mark past numbers that need no look-up, and says what to look up.
  package mutating func read(_ reading: Reading) -> Command {
    lookUp = nil
    let now = clock.advance(to: reading.serverTime)
    guard reading.handedOut >= mark else {
      startOver()
      return .refuse(.sequenceBelowMark(handedOut: reading.handedOut, mark: mark))
    }
    // Set back, though not below the mark: writers will draw numbers again that the floors count as drawn.
    if let before = handedOut, reading.handedOut < before { startOver() }
    let isFirst = handedOut == nil
    if bygone == nil { bygone = max(0, reading.handedOut - policy.lookBack) }
    handedOut = reading.handedOut
    highestVisible = reading.highestVisible

    meet(reading.holders, newcomersFloor: isFirst ? mark : newcomersFloor, now: now)
    let horizon = horizon(of: reading, now: now)
    newcomersFloor = horizon
    stepOverLongHold(now: now)
    let proven = holders.values.reduce(horizon) { min($0, $1.floor) }
    let settled = holders.values.reduce(horizon) { $1.isSteppedOver ? $0 : min($0, $1.floor) }

    mark = max(mark, policy.usesHorizon ? min(proven, bygone ?? 0) : proven)
    if let number = hold?.number, number <= mark { hold = nil }
    guard mark < reading.handedOut, settled > mark || highestVisible > mark else {
      updateHold(isBlocked: true, serverTime: reading.serverTime, now: now)
      return .done
    }
    let to = reading.handedOut
    lookUp = LookUp(from: mark, to: to, proven: proven, settled: settled, serverTime: reading.serverTime, now: now)
    return .lookUpGaps(from: mark, to: to, events: span)
  }

  /// Step 3: `gaps` are the runs of numbers in (from, to] without an event in a snapshot taken after the reading; `to` is where the
  /// look-up ended.
  ///
  /// Ignores an answer to any question but the last.
  package mutating func lookedUp(gaps: [ClosedRange<Int64>], from: Int64, to: Int64) -> Advance {
    guard let asked = lookUp, asked.from == from, from < to, to <= asked.to else {
      return Advance(mark: mark, hold: hold)
    }
    lookUp = nil
    var advance = Advance(mark: to)
    for gap in gaps.sorted(by: { $0.lowerBound < $1.lowerBound }) where gap.overlaps(from + 1...to) {
      let gap = gap.clamped(to: from + 1...to)
      guard gap.upperBound > asked.settled else {
        advance.passed += recorded(gap, proven: asked.proven)
        continue
      }
      if gap.lowerBound <= asked.settled {
        advance.passed += recorded(gap.lowerBound...asked.settled, proven: asked.proven)
      }
      advance.mark = max(gap.lowerBound - 1, asked.settled)
      break
    }
    mark = advance.mark
    // A gap that stays is looked up at every tick, so leave out most of the events behind it.
    span = mark < to ? min(policy.scanLimit, max(256, 2 * min(mark - from, policy.scanLimit))) : policy.scanLimit
    let reachedLimit = mark == to && handedOut.map { to < $0 } ?? false
    advance.moreToDo = reachedLimit && (asked.settled > mark || highestVisible > mark)
    updateHold(isBlocked: !reachedLimit, serverTime: asked.serverTime, now: asked.now)
    advance.hold = hold
    return advance
  }
}

extension HighWater {
  /// A transaction that may still insert numbers above its floor.
  private struct Known {
    var floor: Int64
    var firstSeen: Duration
    /// The operator's rule for long holds no longer waits for it.
    var isSteppedOver = false
  }

  /// The look-up that the last reading asked for, with what it knew.
  private struct LookUp {
    var from: Int64
    var to: Int64
    /// The rule has settled everything up to here.
    var proven: Int64
    /// The same without the skipped holders.
    var settled: Int64
    var serverTime: Duration
    var now: Duration
  }

  /// The next reading counts as a first one again.
  private mutating func startOver() {
    handedOut = nil
    holders = [:]
    history = HandedOutHistory()
    hold = nil
  }

  private mutating func meet(_ present: [Holder], newcomersFloor: Int64, now: Duration) {
    var met: [String: Known] = [:]
    for holder in present where holder.onSequence || (policy.usesHorizon && holder.onEvents) {
      let id = holder.virtualTransaction
      if let known = holders[id] {
        met[id] = known
      } else {
        let floor = holder.isPrepared ? mark : newcomersFloor
        met[id] = Known(floor: min(floor, met[id]?.floor ?? floor), firstSeen: now)
      }
    }
    holders = met
  }

  private mutating func horizon(of reading: Reading, now: Duration) -> Int64 {
    guard policy.usesHorizon else { return reading.handedOut }
    history.note(reading.handedOut, at: now, spacing: policy.gapGrace / 64)
    return history.handedOut(by: now - policy.gapGrace) ?? mark
  }

  /// Stops waiting for the transactions that have kept the mark at one number for too long, if the operator's settings say so.
  ///
  /// The mark never waits for such a transaction again: it may draw further numbers, and would hold the mark again each time.
  /// Instead, as long as it lives, every gap that the mark can pass only without it is recorded.
  private mutating func stepOverLongHold(now: Duration) {
    guard policy.longHold.action == .skip, let hold, case .transactions(let keepers) = hold.keptBy else { return }
    for id in keepers {
      guard let known = holders[id], now - max(known.firstSeen, holdBegan) >= policy.longHold.after else { continue }
      holders[id]?.isSteppedOver = true
    }
  }

  /// The parts of a passed gap that must be recorded, each with the reason it was passed.
  private func recorded(_ gap: ClosedRange<Int64>, proven: Int64) -> [PassedGap] {
    var passed: [PassedGap] = []
    let first = max(gap.lowerBound, (bygone ?? 0) + 1)
    let last = min(gap.upperBound, proven)
    if policy.usesHorizon, first <= last { passed.append(PassedGap(range: first...last, reason: .grace)) }
    let unproven = max(gap.lowerBound, proven + 1)
    if unproven <= gap.upperBound {
      passed.append(PassedGap(range: unproven...gap.upperBound, reason: .skippedLongHold))
    }
    return passed
  }

  private mutating func updateHold(isBlocked: Bool, serverTime: Duration, now: Duration) {
    guard isBlocked, highestVisible > mark else { return hold = nil }
    let number = mark + 1
    let keepers = holders.filter { !$0.value.isSteppedOver && $0.value.floor < number }
    let keptBy: Hold.Keeper =
      if mark == handedOut {
        .sequenceBehind(highestVisible: highestVisible)
      } else if keepers.isEmpty {
        .grace
      } else {
        .transactions(keepers.sorted { ($0.value.firstSeen, $0.key) < ($1.value.firstSeen, $1.key) }.map(\.key))
      }
    if hold?.number != number { holdBegan = now }
    let since = hold?.number == number ? hold!.since : serverTime
    hold = Hold(number: number, since: since, lasted: now - holdBegan, keptBy: keptBy)
  }
}
