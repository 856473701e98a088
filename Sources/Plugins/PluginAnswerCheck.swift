package import Rules

/// Checks that an answer belongs to the page that was handed over. A wrong answer moves no position.
package enum PluginAnswerCheck {
  /// - Parameter isHandedOver: whether the whole page has been written; before that, the plugin may only report a
  ///   failure.
  package static func problem(
    with answer: PluginAnswer, to slice: EventSlice, isHandedOver: Bool
  ) -> Problem? {
    switch answer {
    case .applied(let ceiling, _):
      if ceiling != slice.page.ceiling {
        return .wrongAnswer("answered for a page up to \(ceiling), but was handed one up to \(slice.page.ceiling)")
      }
      return isHandedOver ? nil : .unread(through: ceiling)
    case .failed(let failure):
      if slice.contains(failure.sequence) { return nil }
      return .wrongAnswer(
        "reported a failure of event \(failure.sequence), which is not in its page after \(slice.page.floor) up to \(slice.page.ceiling)"
      )
    }
  }
}
