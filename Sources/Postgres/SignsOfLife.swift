/// Settings with which the server notices within seconds that a client is cut off, instead of keeping its session for hours. Every session
/// has them from its first statement, and gets them back after `RESET ALL`. On a Unix socket they have no effect, and are not needed.
package enum SignsOfLife {
  package static let settings: [(name: String, value: String)] = [
    // Data was sent and not acknowledged: the network is cut.
    ("tcp_user_timeout", "5s"),
    // The same when no data was sent.
    ("tcp_keepalives_idle", "3"),
    ("tcp_keepalives_interval", "1"),
    ("tcp_keepalives_count", "3"),
  ]
}
