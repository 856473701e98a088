/// Whether the numbers of the event store are still those that were seen before: judged when a session of the mark begins, and whenever the
/// mark is written down.
///
/// A store may begin anew: a host deletes all event data, or an older copy of the tables is restored. Its sequence gives the same numbers
/// again then, to other events. What was known of a number (that it is settled, that it was skipped, that a shard has applied it) is about
/// another event, and once the sequence has passed the old mark nothing in the numbers themselves shows that. So the record of the mark has a
/// witness: an event at or below it.
package struct Era: Sendable, Hashable {
  /// What an event is, besides its number.
  package struct Event: Sendable, Hashable {
    /// Its stream and its version there.
    package var place: String
    package var id: String

    package init(place: String, id: String) {
      self.place = place
      self.id = id
    }
  }

  /// The store as it is now.
  package struct Sight: Sendable, Hashable {
    package var handedOut: Int64
    package var highestVisible: Int64
    /// The event that has the number of the witness; nil if none has.
    package var found: Event?
    /// It stands for a stream that the store has compacted, which gives it another id.
    package var isCompacted = false
    package var sequenceFile: Int64
    /// The progression has the row that was written with the mark.
    package var hasMarkRow: Bool

    package init(
      handedOut: Int64, highestVisible: Int64, found: Event? = nil, isCompacted: Bool = false, sequenceFile: Int64 = 1,
      hasMarkRow: Bool = true
    ) {
      self.handedOut = handedOut
      self.highestVisible = highestVisible
      self.found = found
      self.isCompacted = isCompacted
      self.sequenceFile = sequenceFile
      self.hasMarkRow = hasMarkRow
    }
  }

  package enum Verdict: Sendable, Hashable {
    case same
    /// The sequence is below the mark and the old events are still there: a person or a program set it back, and the next events will collide.
    case sequenceBehind
    /// Why, in words.
    case new(String)
  }

  /// What becomes of a shard whose tables have rows of an era that is over.
  package enum OnReset: String, CaseIterable, Hashable, Sendable { case wait, rebuild }

  package var mark: Int64
  package var witness: (sequence: Int64, event: Event)?
  /// Of the sequence; a reset gives it another.
  package var sequenceFile: Int64?

  package init(mark: Int64, witness: (sequence: Int64, event: Event)? = nil, sequenceFile: Int64? = nil) {
    self.mark = mark
    self.witness = witness
    self.sequenceFile = sequenceFile
  }

  package static func == (a: Era, b: Era) -> Bool {
    a.mark == b.mark && a.witness?.sequence == b.witness?.sequence && a.witness?.event == b.witness?.event
      && a.sequenceFile == b.sequenceFile
  }

  package func hash(into hasher: inout Hasher) { hasher.combine(mark) }

  package func judge(_ sight: Sight) -> Verdict {
    if let witness, let found = sight.found {
      guard found.place == witness.event.place, found.id == witness.event.id || sight.isCompacted else {
        return .new("number \(witness.sequence) is another event now")
      }
      return sight.handedOut < mark ? .sequenceBehind : .same
    }
    // Retention, or a stream that was compacted, may have taken the witness away.
    if sight.handedOut < mark {
      return sight.highestVisible > sight.handedOut
        ? .sequenceBehind : .new("the sequence is at \(sight.handedOut), and the mark was at \(mark)")
    }
    guard let witness else { return .same }
    if !sight.hasMarkRow { return .new("event \(witness.sequence) and the positions are gone") }
    if let sequenceFile, sequenceFile != sight.sequenceFile {
      return .new("event \(witness.sequence) is gone, and the sequence was reset")
    }
    return .same
  }
}
