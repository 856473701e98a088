/// Why something does not work, in a form an operator can act on; every layer uses it.
///
/// It never contains event bodies, bind values or passwords.
package struct Problem: Error, Hashable, Sendable, CustomStringConvertible {
  /// Nil if nothing needs to tell it from others.
  package var code: Code?
  package var message: String
  package var detail: String?
  /// What to do about it.
  package var hint: String?
  /// The place of the cause in the operator's files.
  package var source: SourceLocation?
  /// The settings key it concerns, with its tables: `database.pool_size`.
  package var key: String?
  /// The event that was being applied, if known.
  package var sequence: Int64?

  /// - Parameter hint: an empty text counts as none.
  package init(
    _ message: String, code: Code? = nil, detail: String? = nil, hint: String? = nil, source: SourceLocation? = nil,
    key: String? = nil, sequence: Int64? = nil
  ) {
    self.code = code
    self.message = message
    self.detail = detail?.nonEmpty
    self.hint = hint?.nonEmpty
    self.source = source.flatMap { $0 == .unknown ? nil : $0 }
    self.key = key?.nonEmpty
    self.sequence = sequence
  }

  package init(
    _ code: Code, _ message: String, detail: String? = nil, hint: String? = nil, source: SourceLocation? = nil,
    key: String? = nil
  ) {
    self.init(message, code: code, detail: detail, hint: hint, source: source, key: key)
  }

  /// `division by zero (SQLSTATE 22012) at tidemark.toml:12`
  package var description: String {
    var text = message
    if let code { text += " (\(code.words))" }
    if let source, source.line > 0 { text += " at \(source)" }
    return text
  }

  /// For `status`, where a shard that waits for its operator also says what to do.
  package var reason: String {
    guard case .store = code, let hint else { return description }
    return "\(description). \(hint)"
  }

  package var isOfStore: Bool { if case .store = code { true } else { false } }
  package var isOfRebuild: Bool { if case .rebuild = code { true } else { false } }
  package var isOfPlugin: Bool { if case .plugin = code { true } else { false } }

  /// In the style of a compiler, place first: `tidemark.toml:3: database.pool_size: expected a number (TM104)`.
  package var placed: String {
    (source.map { "\($0): " } ?? "") + (key.map { "\($0): " } ?? "") + message + (code.map { " (\($0.words))" } ?? "")
  }

  /// With `${NAME}` in the place of what it stands for.
  package func concealed(by concealment: Concealment) -> Problem {
    var concealed = self
    concealed.message = concealment.concealing(message)
    concealed.detail = detail.map(concealment.concealing)
    concealed.hint = hint.map(concealment.concealing)
    return concealed
  }

  /// Cut to fit one log entry, however long the text of a server or a plugin is.
  package var shortened: Problem {
    var short = self
    short.message = message.shortened(to: Self.longestText)
    short.detail = detail?.shortened(to: Self.longestText)
    short.hint = hint?.shortened(to: Self.longestText)
    return short
  }

  private static let longestText = 300
}

extension String {
  fileprivate var nonEmpty: String? { isEmpty ? nil : self }

  fileprivate func shortened(to limit: Int) -> String { count > limit ? prefix(limit) + " ..." : self }
}
