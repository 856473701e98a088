/// A positional argument of a verb: one word or several. `Given` is the type a parsed line returns for it.
package struct Argument<Given: Sendable>: DescribedArgument {
  package let described: ArgumentDescription
  let read: @Sendable ([String]) -> Given
}

package protocol DescribedArgument: Sendable {
  var described: ArgumentDescription { get }
}

package struct ArgumentDescription: Sendable {
  /// The metavariable.
  package let name: String
  let meaning: String
  let isRequired: Bool
  /// Takes all remaining words; only the last argument of a verb can.
  let isRepeated: Bool
  let expected: String
  let choices: [String]
  let completion: Completion
  let isRight: @Sendable (String) -> Bool

  var wholeMeaning: String { meaning + (choices.isEmpty ? "" : " One of \(inWords(choices, "or")).") }

  /// `[SHARD ...]`
  var usage: String {
    let text = name + (isRepeated ? " ..." : "")
    return isRequired ? text : "[\(text)]"
  }
}

extension Argument {
  private init<Parsed>(
    _ value: Value<Parsed>, _ meaning: String, isRequired: Bool, isRepeated: Bool,
    read: @escaping @Sendable ([Parsed]) -> Given
  ) {
    described = ArgumentDescription(
      name: value.name, meaning: meaning, isRequired: isRequired, isRepeated: isRepeated, expected: value.expected,
      choices: value.choices, completion: value.completion, isRight: { value.parse($0) != nil })
    self.read = { texts in read(texts.compactMap(value.parse)) }
  }

  /// Exactly one word.
  package static func one(_ value: Value<Given>, _ meaning: String) -> Argument {
    Argument(value, meaning, isRequired: true, isRepeated: false) { $0[0] }
  }

  /// One word or several.
  package static func some<Parsed>(_ value: Value<Parsed>, _ meaning: String) -> Argument where Given == [Parsed] {
    Argument(value, meaning, isRequired: true, isRepeated: true) { $0 }
  }

  /// Any number of words, including none.
  package static func any<Parsed>(_ value: Value<Parsed>, _ meaning: String) -> Argument where Given == [Parsed] {
    Argument(value, meaning, isRequired: false, isRepeated: true) { $0 }
  }
}
