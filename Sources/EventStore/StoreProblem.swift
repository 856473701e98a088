import Postgres
package import Projection

/// Why the event store cannot be followed: what was found, and what the operator should do about it.
///
/// Each is final for this attempt; nothing was changed in the database.
package struct StoreProblem: Error, Sendable, Hashable, CustomStringConvertible {
  package var code: StoreCode
  package var message: String
  package var hint: String

  package init(_ code: StoreCode, _ message: String, hint: String) {
    self.code = code
    self.message = message
    self.hint = hint
  }

  package var description: String { "\(message) [\(code.rawValue)]" }
}

/// The oldest PostgreSQL whose locks, snapshots and multiranges the daemon relies on.
package let oldestServerVersion = 140_000

extension SQL {
  /// A statement of Tidemark's own text in which `{{word}}` stands for what `words` says.
  static func filled(_ template: [UInt8], _ words: [String: String]) -> String {
    var text = String(decoding: template, as: UTF8.self)
    for (word, value) in words {
      text = text.split(separator: "{{\(word)}}", omittingEmptySubsequences: false).joined(separator: value)
    }
    precondition(!text.contains("{{"), "every word of the template is filled in")
    return text
  }
}
