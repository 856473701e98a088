// How the daemon knows that nothing is missing
//
// An event takes its number when its transaction calls `nextval` and shows itself when that transaction commits. So a
// reader can see 7 while 6 is still on its way, or while 6 is dead and will never come. From the events alone the two
// look the same. What tells them apart is a lock: `nextval` takes RowExclusiveLock on the sequence *before* it draws,
// and the transaction keeps the lock until it is over, whatever becomes of its savepoints, and also as a prepared
// transaction. PostgreSQL shows a transaction's rows first and releases its locks after. `pg_locks` lists who holds.
//
// A tick reads, one after the other, each with a snapshot of its own:
//
//   1. `handedOut`: the highest number the sequence has given away,
//   2. `holders`: the transactions that hold the lock now,
//   3. where something may lie in the way: which numbers above the mark have no visible event.
//
// Take any number n ≤ handedOut. It was drawn before (1), so its transaction held the lock before (1), so at (2) that
// transaction either is among the holders or is over. If it is over and had committed, the snapshot of (3), and every
// later one, sees the event. If it is over and had not, n is dead. So with no holders all of 1...handedOut is settled.
//
// Each holder has a *floor*: all its numbers are above it. A holder we meet now was not there when the tick before read
// its holders, so it drew after that, and after that tick's `handedOut` was read: that is its floor. Where we cannot say
// that (a first tick; a prepared transaction, which may be an old one under a new name), the mark is the floor, for the
// mark is below everything unsettled. A floor once given stays true for as long as the transaction lives.
//
//     settled = min(handedOut, every holder's floor)
//
// Everything up to `settled` is visible or dead. Above it a number may still be passed when it is visible to (3). So the
// mark goes to `settled`, and on from there through visible numbers up to the first that is missing. It never goes back.
//
// The horizon
//
// Some writers reserve numbers in one transaction and insert the events in another (Marten's Rich append), and a
// sequence with a cache gives numbers to a session that uses them later. Between the two nothing holds a lock, and no
// proof is possible. We grant such a number a grace: its inserting transaction takes its first lock (on the sequence or
// on the event table) within `gapGrace` of the drawing. Then the same argument runs with one value replaced. Let
//
//     horizon = the highest number handed out by (now − gapGrace), by the samples of earlier ticks.
//
// A number ≤ horizon was drawn before (now − gapGrace), so its transaction has taken its lock by now, before (2): it is
// among the holders or over. A holder we meet now took its first lock after the *tick before* read its holders, so its
// numbers were drawn less than a grace before that: they are above the horizon *of the tick before*. Not above that of
// this tick: between two ticks the horizon moves on, and the holder may have come right after the first of them.
//
//     settled = min(horizon, every holder's floor),   floor = the horizon of the tick before
//
// Without a grace the horizon is `handedOut` itself, so this is one rule, not two. What the horizon passes is not
// proven, so every such gap is handed out in `Advance.passed`; it has to be recorded in the transaction that stores the
// mark, or before, so that a late arrival can be noticed.
//
// What the rule asks of its performer
//
// The reads are separate statements under READ COMMITTED, in the order above, on the primary. The clock is read after
// the sequence and before the holders: `clock_timestamp()` in the select list over the sequence, never `now()`. One
// `HighWater` lives as long as one session: after a lost connection, and so after every restart of the server, make
// another from the persisted mark, whose first tick takes the mark for every floor.

/// The high-water rule: up to which number every event is visible or will never come.
package struct HighWater: Sendable {
  package let policy: Policy
  /// Everything up to here is settled. Never falls, and never passes what the sequence has handed out.
  package private(set) var mark: Int64
  /// What keeps the mark from a visible event above it, as of the last tick.
  package private(set) var hold: Hold?

  /// Numbers up to here were handed out so long before anybody looked at this store that nobody is expected to bring them any
  /// more: they are passed without a look-up. Nil before the first reading of all.
  private var bygone: Int64?
  /// As of the last reading; nil when the next one has to take every holder for an old one.
  private var handedOut: Int64?
  private var highestVisible: Int64 = 0
  /// The floor of whoever is first seen at the next reading: the horizon of the last one.
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

  /// Nothing is outstanding: the mark stands at the last number handed out.
  package var isSettled: Bool { handedOut == mark && highestVisible <= mark }

  /// The transactions, by `virtualTransaction`, longest known first, that `on_long_hold` waits for no longer and that live as of the last
  /// reading.
  package var steppedOver: [String] {
    holders.filter(\.value.isSteppedOver).sorted { ($0.value.firstSeen, $0.key) < ($1.value.firstSeen, $1.key) }.map(
      \.key)
  }

  /// Whether a tick has to read the holders, or can end after the sequence.
  ///
  /// With nothing outstanding and the sequence where it was, no number lies above the mark, so there is nothing to settle;
  /// this is as true under the horizon. A tick that ends here leaves no trace in the rule: the next whole reading compares
  /// with the last whole one, so a holder first seen then gets a floor from before it came, only an older one.
  package func needsHolders(handedOut: Int64, highestVisible: Int64) -> Bool {
    !(isSettled && handedOut == self.handedOut && highestVisible <= handedOut)
  }

  /// Steps 1 and 2: takes in what was read, moves the mark over what needs no look, and says what to look up.
  package mutating func read(_ reading: Reading) -> Command {
    lookUp = nil
    let now = clock.advance(to: reading.serverTime)
    guard reading.handedOut >= mark else {
      startOver()
      return .refuse(.sequenceBelowMark(handedOut: reading.handedOut, mark: mark))
    }
    // Set back, though not below the mark: numbers will be drawn again that the floors take for drawn already.
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
    let to = reading.handedOut - mark <= span ? reading.handedOut : mark + span
    lookUp = LookUp(from: mark, to: to, proven: proven, settled: settled, serverTime: reading.serverTime, now: now)
    return .lookUpGaps(from: mark, to: to)
  }

  /// Step 3: `gaps` are the runs of numbers in (from, to] that a snapshot taken after the reading has no event for.
  ///
  /// An answer to another question than the last one asked is ignored.
  package mutating func lookedUp(gaps: [ClosedRange<Int64>], from: Int64, to: Int64) -> Advance {
    guard let asked = lookUp, asked.from == from, asked.to == to else { return Advance(mark: mark, hold: hold) }
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
    // A gap that stays is looked at again and again: not with everything that has come up behind it.
    span = mark < to ? min(policy.scanLimit, max(256, 2 * (mark - from))) : policy.scanLimit
    let reachedLimit = mark == to && handedOut.map { to < $0 } ?? false
    advance.moreToDo = reachedLimit && (asked.settled > mark || highestVisible > mark)
    updateHold(isBlocked: !reachedLimit, serverTime: asked.serverTime, now: asked.now)
    advance.hold = hold
    return advance
  }
}

extension HighWater {
  /// A transaction that may bring numbers above its floor.
  private struct Known {
    var floor: Int64
    var firstSeen: Duration
    /// The operator's rule for long holds gave up waiting for it.
    var isSteppedOver = false
  }

  /// The question the last reading asked, with what it knew.
  private struct LookUp {
    var from: Int64
    var to: Int64
    /// Everything up to here is settled by the rule.
    var proven: Int64
    /// The same without the holders that were stepped over.
    var settled: Int64
    var serverTime: Duration
    var now: Duration
  }

  /// The next reading is a first one again.
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

  /// Ceases to wait for the transactions that have kept the mark at one number for too long, if the operator said so.
  ///
  /// Such a transaction is never waited for again: it may draw further numbers, and would hold the mark anew each time.
  /// Instead, for as long as it lives, every gap that passes only without it is recorded.
  private mutating func stepOverLongHold(now: Duration) {
    guard policy.longHold.action == .skip, let hold, case .transactions(let keepers) = hold.keptBy else { return }
    for id in keepers {
      guard let known = holders[id], now - max(known.firstSeen, holdBegan) >= policy.longHold.after else { continue }
      holders[id]?.isSteppedOver = true
    }
  }

  /// What of a passed gap has to be remembered, and why it was passed.
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
