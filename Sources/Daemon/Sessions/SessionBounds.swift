package import Postgres

/// How every session of a daemon is set up: what it sees after a wait, and what the server does by itself about a session whose client
/// was killed, is frozen, or is cut off: without it a lock, or the row of a position, would stay held for as long as nobody looks, and no
/// other node could go on.
///
/// All are settings that any role may set for its own session, so nobody has to configure the server. Over a socket file those of TCP
/// have no effect, and none is needed there.
package enum SessionBounds: Sendable {
  /// The session that holds the locks of leaders. Its node takes a turn many times a second, so the server ends it when it is quiet.
  case leadership
  /// A session that runs pages, keeps the books, or does nothing but hold a lock.
  case work

  /// A client that is frozen or cut off is given up after this long: the lock session when it is quiet, any other one when it is quiet
  /// in the middle of a transaction.
  package static let silence = Duration.seconds(5)
  /// While a statement runs, how often the server looks whether its client is still there. Locks decide how long a fail-over takes.
  private var checkInterval: Duration { self == .leadership ? .milliseconds(100) : .milliseconds(250) }

  /// For a transaction that waits for a plugin, which may take `timeout` to answer.
  package static func bearing(silenceOf timeout: Duration) -> String {
    "SET LOCAL idle_in_transaction_session_timeout = \(Int((silence + timeout) / .milliseconds(1)))"
  }

  package func apply(to session: Session) async throws { _ = try await session.script(statements) }

  /// For a script that takes them away with everything else, and has to give them back before anybody can cut it short.
  var statements: String { settings.map { "SET \($0.name) = '\($0.value)'" }.joined(separator: "; ") }

  private var settings: [(name: String, value: String)] {
    let silence = "\(Int(Self.silence / .milliseconds(1)))ms"
    return [
      ("client_connection_check_interval", "\(Int(checkInterval / .milliseconds(1)))ms"),
      ("idle_session_timeout", self == .leadership ? silence : "0"),
      ("idle_in_transaction_session_timeout", silence),
      // What was sent and is not acknowledged: the network is cut.
      ("tcp_user_timeout", silence),
      // Where nothing was sent.
      ("tcp_keepalives_idle", "3"),
      ("tcp_keepalives_interval", "1"),
      ("tcp_keepalives_count", "3"),
      // Single statements wait for rows too, and must then see what the wait was for, whatever the role's default is.
      ("default_transaction_isolation", "read committed"),
      // A row that a policy hides is an error, and never a row that is not there.
      ("row_security", "off"),
    ]
  }
}
