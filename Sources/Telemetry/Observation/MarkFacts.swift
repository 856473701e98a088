package import Rules

// The high-water mark, and the gaps below it.

extension Fact {
  package static let markRestored = Fact(
    "21cca06762374227bde7a615fed0f596", .info, "High-water mark restored",
    meaning: "The daemon continues from the mark that an earlier run proved.",
    action: "Nothing.",
    ends: [.database, .store])
}

extension Observation {
  package static func markRestored(_ mark: Int64?) -> Self {
    Self(.markRestored).with(.mark, mark)
  }
}

extension Fact {
  package static let eraBegan = Fact(
    "5a0f6c1e92d74b3f8b41c7d3e9a0562d", .error, "The numbers of the event store began anew",
    meaning:
      "The host deleted all event data, or an older copy of the event tables was restored (TM207): the sequence gives the same numbers to other events. The daemon has discarded what it knew of the old numbers: mark, gaps and positions; dead letters are kept in tidemark.former_letter.",
    action:
      "If this was intended: nothing for shards whose tables are empty; for the others run `tidemark rebuild`. If not, restore the event store from a backup.",
    ends: [.mark])
}

extension Observation {
  /// - Parameter era: its number.
  package static func eraBegan(_ era: Int, failure: Problem) -> Self {
    Self(.eraBegan, failure: failure).with(.era, era)
  }
}

extension Fact {
  package static let markMoved = Fact(
    "72ec41251a464c7f9963648b811d0895", .debug, "High-water mark moved",
    meaning: "Everything up to the mark is settled.",
    action: "Nothing.",
    ends: [.mark])
}

extension Observation {
  package static func markMoved(from: Int64, to mark: Int64) -> Self {
    Self(.markMoved).with(.from, from).with(.mark, mark)
  }
}

extension Fact {
  package static let markHeld = Fact(
    "ca1ad7d5596c4aef93e441b7ea3aa907", .warning, "High-water mark held",
    meaning:
      "A transaction that may still insert an event has kept the mark at one number for a long time. The field by names it. Events above the mark must wait.",
    action:
      "Find out what that session is doing; end it with pg_terminate_backend(pid), or, for a prepared transaction, COMMIT PREPARED or ROLLBACK PREPARED. See on_long_hold in tidemark.toml(5)."
  )
}

extension Observation {
  package static func markHeld(at mark: Int64, for length: Duration, by holders: [String]) -> Self {
    Self(.markHeld).with(.mark, mark).with(.for, length).with(.holders, holders)
  }
}

extension Fact {
  package static let markReleased = Fact(
    "9a9a1471f88e4dfc832867663ab4d128", .notice, "High-water mark released",
    meaning: "The transaction that held the mark has ended.",
    action: "Nothing.")
}

extension Observation {
  package static func markReleased(at mark: Int64, after length: Duration) -> Self {
    Self(.markReleased).with(.mark, mark).with(.after, length)
  }
}

extension Fact {
  package static let markRefused = Fact(
    "77d36c948c2e47a28227927af0940dd1", .error, "Shards do not run: the high-water mark cannot be trusted",
    meaning:
      "The sequence is below a mark that was already proven, the server is a standby, or the event store was replaced. The error says which.",
    action:
      "TM207: the sequence was reset or the database was restored; see RECOVERY in tidemark(7). TM206: connect to the primary. TM210: nothing, the daemon looks the store up again. Others: follow the hint.",
    repeats: .mark)
}

extension Observation {
  package static func markRefused(failure: Problem) -> Self {
    Self(.markRefused, failure: failure)
  }
}

extension Fact {
  package static let markFailed = Fact(
    "4d06ff1f7c5e4b0fa2f2f6f3b4b0a6c1", .error, "Cannot read the high-water mark; trying again",
    meaning:
      "The database answers, but a statement of the high-water agent fails. No shard gets new events until it works again.",
    action:
      "Read error and sqlstate. If a table of the schema tidemark is missing, run `tidemark init`; if a privilege is missing, run `tidemark check`.",
    repeats: .mark)
}

extension Observation {
  package static func markFailed(failure: Problem, retryIn delay: Duration) -> Self {
    Self(.markFailed, failure: failure).with(.retryIn, delay)
  }
}

extension Fact {
  package static let gapsPassed = Fact(
    "2a5dc0d2471f4e9bb0089abdfac52a6c", .info, "Skipped sequence numbers that have no event",
    meaning:
      "No event has these numbers, and there is no proof that none will arrive. Reason grace: no transaction has held them for gap_grace. Reason long hold: a transaction has held them for longer than on_long_hold allows. tidemark.gap lists them, and the daemon watches them for late_arrival_window.",
    action:
      "Grace: nothing; if every writer appends in quick mode, append = \"quick\" ends such entries. Long hold: held_by in tidemark.gap names the transaction; if it commits after all, its events become dead letters."
  )
}

extension Observation {
  package static func gapsPassed(_ gaps: [ClosedRange<Int64>], reason: HighWater.PassedGap.Reason) -> Self {
    Self(.gapsPassed).with(.first, gaps.map(\.lowerBound).min() ?? 0).with(.last, gaps.map(\.upperBound).max() ?? 0)
      .with(.numbers, gaps.reduce(0) { $0 + $1.count }).with(.gapReason, reason)
  }
}

extension Fact {
  package static let gapsUnwatched = Fact(
    "7be1f6a07a0b4c55a3f6bfb3ac2ab1d9", .error, "Cannot watch skipped gaps for late arrivals; trying again",
    meaning:
      "The statement that looks for events in the gaps of tidemark.gap fails. Shards continue; the daemon finds late arrivals when it works again.",
    action:
      "Read error and sqlstate. `tidemark check` lists missing privileges, `tidemark init` creates missing tables.",
    repeats: .gaps)
}

extension Observation {
  package static func gapsUnwatched(failure: Problem) -> Self {
    Self(.gapsUnwatched, failure: failure)
  }
}

extension Fact {
  package static let lateArrival = Fact(
    "f6caa95ba7d3435ea035f9942de6782e", .error,
    "An event arrived after its number had been skipped; it is kept as a dead letter",
    meaning:
      "A writer took longer than gap_grace between reserving a number and inserting its event. Each shard that had passed the number has a dead letter in tidemark.dead_letter.",
    action:
      "Decide whether the event matters to the read models of these shards; raise gap_grace above the time your writers take."
  )
}

extension Observation {
  /// - Parameter shards: those that have a dead letter of it; the others will get it in a page, or do not take its type.
  package static func lateArrival(sequence: Int64, type: String, shards: [String]) -> Self {
    Self(.lateArrival).with(.sequence, sequence).with(.type, type).with(.shards, shards)
  }
}

extension Fact {
  package static let numbersNotDrawn = Fact(
    "0be3307b07fc43d3a9952163e28fc654", .error, "Events have numbers that no transaction had drawn",
    meaning:
      "Events appeared at or below the mark, in numbers that were proven to be dead: their writer did not draw them from the sequence, or drew them in an earlier transaction. Each shard in the field shards was past them, and has dead letters in tidemark.dead_letter. A shard in the field undecided passed them within the same seconds, and may have read them or not.",
    action:
      "Find the writer: a restore, a partition that was attached, a subscription, or an INSERT that names seq_id. If it reserves numbers in one transaction and inserts in another, set append = \"rich\". For shards with dead letters run `tidemark dead-letters`; for undecided shards compare the read model with `tidemark rebuild --diff`."
  )
}

extension Observation {
  /// - Parameters:
  ///   - shards: those that have dead letters of them.
  ///   - undecided: those that may have read them.
  package static func numbersNotDrawn(_ sequences: [Int64], shards: [String], undecided: [String]) -> Self {
    Self(.numbersNotDrawn).with(.first, sequences.min() ?? 0).with(.last, sequences.max() ?? 0)
      .with(.count, sequences.count).with(.shards, shards).with(.undecided, undecided)
  }
}
