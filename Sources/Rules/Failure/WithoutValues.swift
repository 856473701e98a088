extension Problem {
  /// What a log shows where the values of events must not be in it: errors on an event's data, and what a plugin says, may repeat them.
  /// Code, place and event stay; `tidemark dead-letters show` has the rest.
  package var withoutValues: Problem {
    let isOfData = sequence != nil || code.map { FailureClass.of($0) == .event } ?? false
    guard isOfData || isOfPlugin else { return self }
    var plain = self
    plain.message = isOfPlugin ? code.map { "the plugin failed: \($0.words)" } ?? Self.leftOut : Self.leftOut
    plain.detail = nil
    plain.hint = nil
    return plain
  }

  /// In the place of a text that may hold values.
  package static let leftOut = "left out, as [log] values = false says"
}
