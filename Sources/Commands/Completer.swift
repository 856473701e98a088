/// The completions a shell offers for the word before its cursor.
package struct Offer: Hashable, Sendable {
  package struct Candidate: Hashable, Sendable {
    /// The whole word, not only the part still to be typed.
    package let text: String
    /// A short description for shells that show one; may be empty.
    package let meaning: String

    package init(_ text: String, _ meaning: String = "") {
      self.text = text
      self.meaning = meaning
    }
  }

  /// Not filtered by what has been typed: each shell has its own rules for matching.
  package var candidates: [Candidate] = []
  /// The shell offers file names too.
  package var takesFiles = false

  /// For the completion scripts: `files` or `words` on the first line, then one candidate per line, with its meaning
  /// after a tab.
  package var lines: [String] {
    [takesFiles ? "files" : "words"]
      + candidates.map { $0.meaning.isEmpty ? $0.text : "\($0.text)\t\($0.meaning)" }
  }
}

extension Verb {
  /// Completes a command line from the same description that parses it.
  ///
  /// - Parameters:
  ///   - words: the words before the cursor, without the program's name; the last is the one to complete, and may be
  ///     empty.
  ///   - names: returns the names of a kind, given the options on the line so far.
  package func complete(
    _ words: [String], names: @escaping (NameKind, ParsedLine) -> [Offer.Candidate]
  ) -> Offer {
    var reader = LineReader(self)
    for word in words.dropLast() { reader.take(word) }
    return Completer(reader: reader, word: words.last ?? "", names: names).offer
  }
}

private struct Completer {
  let reader: LineReader
  let word: String
  let names: (NameKind, ParsedLine) -> [Offer.Candidate]

  private var verb: Verb { reader.verb }

  var offer: Offer {
    if reader.hasUnknownVerb { return Offer() }
    if !reader.isAfterDashes {
      if let (option, _) = reader.awaited.first, !word.hasPrefix("-") { return value(option.completion) }
      if word.hasPrefix("--"), let equals = word.firstIndex(of: "=") {
        let name = word[..<equals].dropFirst(2)
        guard let option = verb.allOptions.first(where: { $0.name == name && $0.value != nil }) else { return Offer() }
        return value(option.completion, after: String(word[...equals]))
      }
      if word.hasPrefix("-") { return Offer(candidates: options) }
      if reader.awaitsVerb { return Offer(candidates: Self.verbs(of: verb)) }
    }
    guard let argument else { return Offer(candidates: word.isEmpty && !reader.isAfterDashes ? options : []) }
    var offer = value(argument.completion)
    offer.candidates.removeAll { reader.arguments.contains($0.text) }
    return offer
  }

  /// The argument that the word to complete belongs to.
  private var argument: ArgumentDescription? {
    let arguments = verb.arguments
    if reader.arguments.count < arguments.count { return arguments[reader.arguments.count] }
    return arguments.last.flatMap { $0.isRepeated ? $0 : nil }
  }

  /// - Parameter prefix: `--name=`, which is part of the same word.
  private func value(_ completion: Completion, after prefix: String = "") -> Offer {
    var offer = Offer()
    switch completion {
    case .nothing: break
    case .files: offer.takesFiles = true
    case .words(let words): offer.candidates = words.map { Offer.Candidate($0) }
    case .verbs:
      var asked = LineReader(reader.path[0])
      for name in reader.arguments { asked.take(name) }
      if asked.awaitsVerb { offer.candidates = Self.verbs(of: asked.verb) }
    case .names(let kinds, let orFiles):
      let line = ParsedLine(verb: verb, options: reader.options, arguments: [:])
      offer.candidates = kinds.flatMap { names($0, line) }
      offer.takesFiles = orFiles
    }
    if !prefix.isEmpty {
      offer.candidates = offer.candidates.map { Offer.Candidate(prefix + $0.text, $0.meaning) }
    }
    return offer
  }

  private static func verbs(of verb: Verb) -> [Offer.Candidate] {
    verb.shownChildren.map { Offer.Candidate($0.name, summary($0.about)) }
  }

  /// The options that can still be added: no second use of one that counts once, and none excluded by an alternative.
  private var options: [Offer.Candidate] {
    let given = Set(reader.options.keys).union(verb.arguments.prefix(reader.arguments.count).map(\.name))
    let left = verb.allShownOptions.filter { option in
      let isExcluded = verb.alternatives.contains { group in
        group.contains(option.name) && group.contains { $0 != option.name && given.contains($0) }
      }
      return !isExcluded && (option.isRepeated || !given.contains(option.name))
    }
    let long = left.map { Offer.Candidate("--\($0.name)", Self.summary($0.meaning)) }
    if word.hasPrefix("--") || word.isEmpty { return long }
    return left.compactMap { option in
      option.short.map { Offer.Candidate("-\($0)", Self.summary(option.meaning)) }
    } + long
  }

  /// The first sentence, without its full stop.
  private static func summary(_ text: String) -> String {
    let words = text.split { $0.isWhitespace }.joined(separator: " ")
    let end = words.firstRange(of: ". ")?.lowerBound ?? words.endIndex
    let sentence = words[..<end]
    return String(sentence.hasSuffix(".") ? sentence.dropLast() : sentence)
  }
}
