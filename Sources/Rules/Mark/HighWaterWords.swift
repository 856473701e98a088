/// How an application puts events into the store.
package enum AppendMode: String, CaseIterable, Hashable, Sendable {
  /// A number is drawn in the transaction that inserts its event.
  case quick
  /// Numbers are reserved in one transaction and their events inserted in another.
  case rich
}

extension HighWater {
  package struct Policy: Hashable, Sendable {
    package var append: AppendMode
    /// The sequence hands numbers to sessions in blocks (CACHE above 1), so they may be used long after.
    package var cached: Bool
    /// Longest time from the drawing of a number to the first lock of the transaction that inserts its event: on the
    /// sequence or on the event table, so counted to its first statement on either and not to its BEGIN.
    ///
    /// Server time. Only used under the horizon. Default 3 s: what Marten's users are used to.
    package var gapGrace: Duration
    package var longHold: LongHold
    /// Numbers one look-up may span. Default 20,000.
    package var scanLimit: Int64
    /// How many numbers before the very first look at a store may still be brought by a writer who is late. Default 20,000.
    ///
    /// Only used under the horizon: gaps among them are handed out like later ones, and those of before are not even looked up, so that
    /// the first start on a large store costs no scan of it.
    package var lookBack: Int64

    package init(
      append: AppendMode, cached: Bool = false, gapGrace: Duration = .seconds(3), longHold: LongHold = LongHold(),
      scanLimit: Int64 = 20_000, lookBack: Int64 = 20_000
    ) {
      precondition(scanLimit > 0, "a look-up spans at least one number")
      self.append = append
      self.cached = cached
      self.gapGrace = gapGrace
      self.longHold = longHold
      self.scanLimit = scanLimit
      self.lookBack = lookBack
    }

    /// Numbers may be drawn outside the transaction that inserts them, so the proof needs the grace.
    package var usesHorizon: Bool { append == .rich || cached }
  }

  /// What to do about a transaction that keeps the mark at one number for very long.
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

  /// What a tick reads before it looks at events: first the numbers and the clock, then, in a later statement, the holders.
  package struct Reading: Hashable, Sendable {
    /// The server's clock, read after the sequence and before the holders; from any fixed moment on.
    package var serverTime: Duration
    /// The highest number the sequence has given away; 0 when it was never used.
    package var handedOut: Int64
    /// The highest number that has a visible event; 0 when there is none.
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
    /// With a snapshot of its own, find the numbers in (from, to] without a visible event, then call `lookedUp`.
    case lookUpGaps(from: Int64, to: Int64)
    case refuse(Refusal)
  }

  /// Why no shard may run.
  package enum Refusal: Hashable, Sendable {
    /// The sequence was set back, or the database restored to an earlier state: numbers below the mark will come again.
    case sequenceBelowMark(handedOut: Int64, mark: Int64)
  }

  /// What a look-up led to.
  package struct Advance: Hashable, Sendable {
    package var mark: Int64
    /// Gaps the mark has passed without a proof. To be recorded no later than the mark is stored or told to anybody.
    package var passed: [PassedGap]
    package var hold: Hold?
    /// The look-up ended at its limit and not at a gap: tick again at once.
    package var moreToDo: Bool

    package init(mark: Int64, passed: [PassedGap] = [], hold: Hold? = nil, moreToDo: Bool = false) {
      self.mark = mark
      self.passed = passed
      self.hold = hold
      self.moreToDo = moreToDo
    }
  }

  /// A run of numbers without events that the mark has passed and that might still come.
  package struct PassedGap: Hashable, Sendable {
    /// As tidemark.gap and the log have it.
    package enum Reason: String, CaseIterable, Hashable, Sendable {
      /// Nobody inserted them within the grace, and nobody was left who might have been about to.
      case grace
      /// They may belong to a transaction that the operator's `on_long_hold` told to wait for no longer.
      case skippedLongHold = "long hold"
    }
    package var range: ClosedRange<Int64>
    package var reason: Reason

    package init(range: ClosedRange<Int64>, reason: Reason) {
      self.range = range
      self.reason = reason
    }
  }

  /// The mark stands below a visible event.
  package struct Hold: Hashable, Sendable {
    package enum Keeper: Hashable, Sendable {
      /// Transactions, by `virtualTransaction`, longest known first, that may still bring the number.
      case transactions([String])
      /// Nobody holds a lock, but the number is younger than the grace.
      case grace
      /// The number was not handed out yet, though there are events above it: somebody inserted them without the sequence,
      /// or restored them and did not set it. Writers will draw these numbers, so they are not safe to pass.
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
