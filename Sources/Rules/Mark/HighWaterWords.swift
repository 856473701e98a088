/// How an application appends events.
package enum AppendMode: String, CaseIterable, Hashable, Sendable {
  /// A writer draws a number in the transaction that inserts its event.
  case quick
  /// A writer reserves numbers in one transaction and inserts their events in another.
  case rich
}

extension HighWater {
  package struct Policy: Hashable, Sendable {
    package var append: AppendMode
    /// The sequence hands out numbers in blocks (CACHE above 1), so a session may use them much later.
    package var cached: Bool
    /// Longest time from the drawing of a number to the first lock of the transaction that inserts its event, on the
    /// sequence or on the event table: so to its first statement on either, not to its BEGIN.
    ///
    /// Server time. Only used under the horizon. Default 3 s, as Marten's users expect.
    package var gapGrace: Duration
    package var longHold: LongHold
    /// How many events one look-up may read, however many numbers lie between them. Default 20,000.
    package var scanLimit: Int64
    /// How many numbers before the very first look at a store a late writer may still insert. Default 20,000.
    ///
    /// Only used under the horizon: gaps among them are recorded like later ones, and earlier gaps are not even looked up, so that the
    /// first start on a large store needs no scan of it.
    package var lookBack: Int64

    package init(
      append: AppendMode, cached: Bool = false, gapGrace: Duration = .seconds(3), longHold: LongHold = LongHold(),
      scanLimit: Int64 = 20_000, lookBack: Int64 = 20_000
    ) {
      precondition(scanLimit > 0, "a look-up reads at least one event")
      self.append = append
      self.cached = cached
      self.gapGrace = gapGrace
      self.longHold = longHold
      self.scanLimit = scanLimit
      self.lookBack = lookBack
    }

    /// Writers may draw numbers outside the transaction that inserts them, so the proof needs the grace.
    package var usesHorizon: Bool { append == .rich || cached }
  }

  /// What to do about a transaction that keeps the mark at one number for too long.
  package struct LongHold: Hashable, Sendable {
    package enum Action: String, CaseIterable, Hashable, Sendable { case wait, skip }
    package var after: Duration
    package var action: Action

    package init(after: Duration = .seconds(600), action: Action = .wait) {
      self.after = after
      self.action = action
    }
  }

  /// A transaction that holds RowExclusiveLock on the sequence, on the event table, or on both.
  package struct Holder: Hashable, Sendable {
    /// `pg_locks.virtualtransaction`.
    package var virtualTransaction: String
    /// `pid` is null.
    package var isPrepared: Bool
    package var onSequence: Bool
    package var onEvents: Bool

    package init(virtualTransaction: String, isPrepared: Bool = false, onSequence: Bool = true, onEvents: Bool = false)
    {
      self.virtualTransaction = virtualTransaction
      self.isPrepared = isPrepared
      self.onSequence = onSequence
      self.onEvents = onEvents
    }
  }

  /// The values a tick reads before it looks at events: first the numbers and the clock, then, in a later statement, the holders.
  package struct Reading: Hashable, Sendable {
    /// The server's clock, read after the sequence and before the holders; counted from any fixed moment.
    package var serverTime: Duration
    /// The highest number the sequence has handed out; 0 if it was never used.
    package var handedOut: Int64
    /// The highest number of a visible event; 0 if there is none.
    package var highestVisible: Int64
    package var holders: [Holder]

    package init(serverTime: Duration, handedOut: Int64, highestVisible: Int64, holders: [Holder]) {
      self.serverTime = serverTime
      self.handedOut = handedOut
      self.highestVisible = highestVisible
      self.holders = holders
    }
  }

  package enum Command: Hashable, Sendable {
    /// The tick is over; see `mark`.
    case done
    /// With a snapshot of its own, find the numbers in (from, to] without a visible event, then call `lookedUp`. End at the visible event
    /// that is the `events`-th after `from`, if there is one below `to`.
    case lookUpGaps(from: Int64, to: Int64, events: Int64)
    case refuse(Refusal)
  }

  /// Why no shard may run.
  package enum Refusal: Hashable, Sendable {
    /// The sequence was set back, or the database was restored to an earlier state: writers will draw numbers below the mark again.
    case sequenceBelowMark(handedOut: Int64, mark: Int64)
  }

  /// The result of a look-up.
  package struct Advance: Hashable, Sendable {
    package var mark: Int64
    /// Gaps the mark has passed without a proof. The performer must record them before it stores the mark or shows it to a shard.
    package var passed: [PassedGap]
    package var hold: Hold?
    /// The look-up ended at its limit, not at a gap: tick again at once.
    package var moreToDo: Bool

    package init(mark: Int64, passed: [PassedGap] = [], hold: Hold? = nil, moreToDo: Bool = false) {
      self.mark = mark
      self.passed = passed
      self.hold = hold
      self.moreToDo = moreToDo
    }
  }

  /// A run of numbers without events that the mark has passed; their events might still arrive.
  package struct PassedGap: Hashable, Sendable {
    /// The word for it in tidemark.gap and in the log.
    package enum Reason: String, CaseIterable, Hashable, Sendable {
      /// No writer inserted them within the grace, and no transaction was left that might have been about to.
      case grace
      /// They may belong to a transaction that the mark no longer waits for, as the operator's `on_long_hold` says.
      case skippedLongHold = "long hold"
    }
    package var range: ClosedRange<Int64>
    package var reason: Reason

    package init(range: ClosedRange<Int64>, reason: Reason) {
      self.range = range
      self.reason = reason
    }
  }

  /// The mark is held below a visible event.
  package struct Hold: Hashable, Sendable {
    package enum Keeper: Hashable, Sendable {
      /// Transactions, by `virtualTransaction`, longest known first, that may still insert the number.
      case transactions([String])
      /// No transaction holds a lock, but the number is younger than the grace.
      case grace
      /// The number was not handed out yet, though there are events above it: they were inserted without the sequence,
      /// or restored without setting it. Writers will draw these numbers, so the mark must not pass them.
      case sequenceBehind(highestVisible: Int64)
    }
    /// The first number that is not settled.
    package var number: Int64
    /// Server time of the first reading that found the mark held at this number.
    package var since: Duration
    /// How long it has been held here, as of the last reading.
    package var lasted: Duration
    package var keptBy: Keeper

    package init(number: Int64, since: Duration, lasted: Duration, keptBy: Keeper) {
      self.number = number
      self.since = since
      self.lasted = lasted
      self.keptBy = keptBy
    }
  }
}
