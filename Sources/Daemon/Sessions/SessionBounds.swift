package import Postgres

/// The setup of every session of a daemon: what it sees after a wait, and when the server ends it because its client was killed, is frozen,
/// or is cut off. Without these bounds such a session would keep a lock or a position row for hours, and no other node could continue.
///
/// Any role may set these for its own session, so the server needs no configuration. On a Unix socket the TCP settings have no effect, and
/// are not needed.
package enum SessionBounds: Sendable {
  /// The session that holds the locks of leaders. Its node uses it many times a second, so the server ends it when it is quiet.
  case leadership
  /// A session that applies pages, writes Tidemark's own tables, or only holds a lock.
  case work

  /// How long the server waits for a client that is frozen or cut off: for the lock session at any time, for other sessions in the middle
  /// of a transaction.
  package static let silence = Duration.seconds(5)
  /// How often the server checks its client while a statement runs. For the session with the locks this decides how long a fail-over takes.
  private var checkInterval: Duration { self == .leadership ? .milliseconds(100) : .milliseconds(250) }

  /// For work that cannot be cut into pages, and must not end with a limit that the role has for statements or transactions.
  ///
  /// - Parameter isLocal: for the current transaction, and not for the session.
  static func unlimited(_ session: Session, isLocal: Bool = false) -> String {
    let settings = ["statement_timeout"] + (session.serverVersion >= 170_000 ? ["transaction_timeout"] : [])
    return settings.map { "SET \(isLocal ? "LOCAL " : "")\($0) = 0" }.joined(separator: "; ")
  }

  /// The same for a session of the daemon's own statements: each has a limit in the daemon, or waits for a lock on purpose. A page keeps the
  /// limits of its role, and becomes narrower.
  static func applyUnlimited(_ bounds: SessionBounds = .work, to session: Session) async throws {
    try await session.script("\(bounds.statements); \(unlimited(session))")
  }

  /// How long a start or a verb waits for a lock that another session holds on one of the tables it reads or changes.
  package static let lockPatience = Duration.seconds(30)

  /// For a session that changes the schema or serves an operator: a lock that another session keeps is named, and never waited for in
  /// silence; and if this process freezes, the server ends the transaction.
  ///
  /// - Parameter patience: until a wait for a lock fails with 55P03.
  package static func applyForOperator(to session: Session, patience: Duration = lockPatience) async throws {
    try await session.script("\(SessionBounds.work.statements); \(lockTimeout(patience))")
  }

  /// For a session whose waits for a lock fail with 55P03 after this long.
  package static func lockTimeout(_ patience: Duration = lockPatience) -> String {
    "SET lock_timeout = '\(Int(patience / .milliseconds(1)))ms'"
  }

  package func apply(to session: Session) async throws { _ = try await session.script(statements) }

  /// For a script that resets all settings and must set these again in the same transaction.
  var statements: String {
    ([ServerSettings.pin] + settings.map { "SET \($0.name) = '\($0.value)'" }).joined(separator: "; ")
  }

  private var settings: [(name: String, value: String)] {
    let silence = "\(Int(Self.silence / .milliseconds(1)))ms"
    return [
      ("client_connection_check_interval", "\(Int(checkInterval / .milliseconds(1)))ms"),
      ("idle_in_transaction_session_timeout", silence),
    ] + (self == .leadership ? [("idle_session_timeout", silence)] : [])
  }
}
