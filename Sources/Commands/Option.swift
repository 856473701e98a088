/// An option of a verb, described once. `Given` is the type a parsed line returns for it.
///
/// ```swift
/// static let limit: Option<Int> = .value("limit", .integer("NUMBER"), default: 10, "The most to print.")
/// …
/// line[Self.limit]   // an Int
/// ```
package struct Option<Given: Sendable>: DescribedOption {
  package private(set) var described: OptionDescription
  /// Reads the given texts; `described.isRight` has accepted them.
  let read: @Sendable ([String]) -> Given
}

/// An option without its type, as parser, help, manual and completion see it.
package protocol DescribedOption: Sendable {
  var described: OptionDescription { get }
}

package struct OptionDescription: Sendable {
  /// Without its dashes.
  package let name: String
  package let short: Character?
  /// The metavariable; nil for a flag.
  let value: String?
  /// One sentence or more; the choices, the default and whether it may be repeated are added to it.
  let meaning: String
  /// The default, as it is typed on a command line.
  var standard: String?
  var isRepeated = false
  var expected = ""
  var choices: [String] = []
  var completion = Completion.nothing
  var isRight: @Sendable (String) -> Bool = { _ in true }
  /// Left out of help, manual and completion.
  var isHidden = false

  /// `-c, --config FILE`
  var label: String { "\(short.map { "-\($0), " } ?? "")--\(name)\(value.map { " \($0)" } ?? "")" }

  /// `meaning` with the choices, the default and whether it may be repeated.
  var wholeMeaning: String {
    var text = meaning
    if !choices.isEmpty { text += " One of \(inWords(choices, "or"))." }
    if isRepeated { text += " May be repeated." }
    if let standard { text += " Default: \(standard)." }
    return text
  }

  /// `[-c FILE]`
  var usage: String {
    "[\(short.map { "-\($0)" } ?? "--\(name)")\(value.map { " \($0)" } ?? "")\(isRepeated ? " ..." : "")]"
  }
}

extension Option {
  private init<Parsed>(
    _ name: String, short: Character?, _ value: Value<Parsed>, _ meaning: String, standard: String? = nil,
    isRepeated: Bool = false, read: @escaping @Sendable ([Parsed]) -> Given
  ) {
    described = OptionDescription(
      name: name, short: short, value: value.name, meaning: meaning, standard: standard, isRepeated: isRepeated,
      expected: value.expected, choices: value.choices, completion: value.completion,
      isRight: { value.parse($0) != nil })
    self.read = { texts in read(texts.compactMap(value.parse)) }
  }

  /// An option with a value and no default; if it is repeated, the last one counts.
  package static func value<Parsed>(
    _ name: String, short: Character? = nil, _ value: Value<Parsed>, _ meaning: String
  ) -> Option where Given == Parsed? {
    Option(name, short: short, value, meaning) { $0.last }
  }

  /// An option with a value and a default; if it is repeated, the last one counts.
  package static func value(
    _ name: String, short: Character? = nil, _ value: Value<Given>, default standard: Given, _ meaning: String
  ) -> Option {
    Option(name, short: short, value, meaning, standard: value.write(standard)) { $0.last ?? standard }
  }

  /// An option with a value that may be repeated; all values count.
  package static func values<Parsed>(
    _ name: String, short: Character? = nil, _ value: Value<Parsed>, _ meaning: String
  ) -> Option where Given == [Parsed] {
    Option(name, short: short, value, meaning, isRepeated: true) { $0 }
  }
}

extension Option {
  /// The same option, left out of help: the verb reads it only to explain why it refuses it.
  package var hidden: Option {
    var option = self
    option.described.isHidden = true
    return option
  }
}

extension Option where Given == Bool {
  /// An option without a value: given or not.
  package static func flag(_ name: String, short: Character? = nil, _ meaning: String) -> Option {
    Option(described: OptionDescription(name: name, short: short, value: nil, meaning: meaning)) { !$0.isEmpty }
  }
}
