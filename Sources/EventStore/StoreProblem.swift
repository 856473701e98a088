import Postgres
package import Rules

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
