import Postgres
import Sandbox
import Testing

/// One cluster for all tests of the process; it ends with the process.
enum SharedCluster {
  private static let starting = Task { try await PrivateCluster.start(settings: ["fsync": "off"], listensOnTCP: true) }

  static func options() async throws -> ConnectionOptions {
    ConnectionOptions(conninfo: try await starting.value.conninfo(database: "postgres"), pins: .never)
  }
}

/// Runs the body of a test with a session.
func withSession<T: Sendable>(_ body: (Session) async throws -> T) async throws -> T {
  try await Session.connect(try await SharedCluster.options()).closing(body)
}

extension Session {
  /// Waits until another session is in its `pg_sleep(600)`.
  func untilActive(_ processID: Int32) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while try await value(
      "SELECT count(*) FROM pg_stat_activity WHERE pid = \(Int(processID)) AND query LIKE '%pg_sleep(600)%' AND state = 'active'",
      as: Int.self) == 0
    {
      try #require(ContinuousClock.now < deadline, "the statement does not run")
      try await Task.sleep(for: .milliseconds(2))
    }
  }

  func value<T: PostgresDecodable>(_ sql: SQL, as type: T.Type = T.self) async throws -> T {
    try await execute(sql).rows[0].get(0, as: T.self)
  }
}
