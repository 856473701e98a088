/// Why an event is a dead letter, as `tidemark.dead_letter.class` has it and `--class` takes it.
///
/// Two are classes of failures (``FailureClass``) too. The functions of the schema write the same words.
package enum LetterClass: String, Sendable, Hashable, CaseIterable {
  /// The event's own data failed.
  case event
  /// The event failed alone, for a reason that may pass.
  case transient
  /// An earlier event of its stream is a dead letter, and streams are parked.
  case parked
  /// The event arrived in a gap that the mark had passed.
  case lateArrival = "late_arrival"
  /// The projection has no statement for its type.
  case unknownEvent = "unknown-event"

  /// A replay that fails again keeps these: they say how the event became a letter, not how it fails.
  package static let kept: Set<LetterClass> = [.parked, .lateArrival]
}
