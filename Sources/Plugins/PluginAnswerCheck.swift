package import Rules

/// Whether an answer is one to the page that was handed over. A wrong one moves no position.
package enum PluginAnswerCheck {
  /// - Parameter isHandedOver: the whole page has been written; before that only a failure can be told.
  package static func problem(
    with answer: PluginAnswer, to slice: EventSlice, isHandedOver: Bool
  ) -> PluginProblem? {
    switch answer {
    case .applied(let ceiling, _):
      if ceiling != slice.page.ceiling {
        return .wrongAnswer("answered for a page up to \(ceiling) when it was handed one up to \(slice.page.ceiling)")
      }
      return isHandedOver ? nil : .wrongAnswer("answered before it had read the page up to \(ceiling)")
    case .failed(let failure):
      if slice.contains(failure.sequence) { return nil }
      return .wrongAnswer(
        "said that event \(failure.sequence) failed, which is not in its page after \(slice.page.floor) up to \(slice.page.ceiling)"
      )
    }
  }
}
