import Postgres

/// Why the event store cannot be followed: what was found, and what the operator should do about it.
///
/// Each is final for this attempt; nothing was changed in the database.
package struct StoreProblem: Error, Sendable, Hashable, CustomStringConvertible {
  /// Stable, for searching the manual: `TM2xx`.
  package var code: Code
  package var message: String
  package var hint: String

  package init(_ code: Code, _ message: String, hint: String) {
    self.code = code
    self.message = message
    self.hint = hint
  }

  package enum Code: String, Sendable, Hashable {
    /// The schema holds no event table.
    case noStore = "TM201"
    /// A table is there but not in a shape that can be followed exactly.
    case unfitStore = "TM202"
    /// The role lacks a privilege.
    case noPrivilege = "TM203"
    /// Tidemark's own schema is missing or older than this program.
    case schemaBehind = "TM204"
    /// Tidemark's own schema was made by a newer program.
    case schemaAhead = "TM205"
    /// The server is a standby: the locks of the primary cannot be seen there.
    case standby = "TM206"
    /// The sequence is below what was already applied: it was reset, or the database restored.
    case sequenceReset = "TM207"
    /// The server is older than the oldest supported release.
    case oldServer = "TM208"
    /// Tidemark's schema in this database serves another event store.
    case otherStore = "TM209"
    /// The event table or its sequence was made anew while the daemon followed it.
    case replaced = "TM210"
    /// Another node follows this store, and this one is not meant to share.
    case otherNode = "TM211"
    /// A connection goes through a pooler that gives each statement another session.
    case pooled = "TM212"
    /// A shard is to take over from the application, and events are still being appended.
    case notAtRest = "TM213"
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
