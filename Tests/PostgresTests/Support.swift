import Postgres
import Sandbox

/// One cluster for all tests of the process; it ends with the process.
enum SharedCluster {
  private static let starting = Task { try await PrivateCluster.start(settings: ["fsync": "off"], listensOnTCP: true) }

  static func options() async throws -> ConnectionOptions {
    ConnectionOptions(conninfo: try await starting.value.conninfo(database: "postgres"))
  }
}

/// A session around the body of a test.
func withSession<T: Sendable>(_ body: (Session) async throws -> T) async throws -> T {
  try await Session.connect(try await SharedCluster.options()).closing(body)
}

extension Session {
  func value<T: PostgresDecodable>(_ sql: SQL, as type: T.Type = T.self) async throws -> T {
    try await execute(sql).rows[0].get(0, as: T.self)
  }
}
