import Daemon
import Postgres
import Rules
import Settings
import TestSupport
import Testing

/// A transaction or a statement that stays open keeps the server from removing dead rows, in every table of the database.
@Suite(.gated) struct `A daemon at rest` {
  @Test(arguments: [NodeMode.solo, .hotcold]) func `holds back no dead rows`(mode: NodeMode) async throws {
    let database = try await TestDatabase.make()
    var settings = try await database.install(
      """
      [projections.Sum]
      tables = ["sum"]
      setup = "CREATE TABLE sum (events bigint)"
      sql = "INSERT INTO sum SELECT count(*) FROM batch"
      """)
    settings.mode = mode
    try await withDaemon(settings) { daemon in
      try await database.append(type: "a", count: 1)
      try await daemon.caughtUp()
      // What is open now and still open after the agents have gone around a few times is held.
      for _ in 0..<3 {
        let before = try await database.openTransactions()
        try await daemon.ticked(times: 2)
        let held = before.intersection(try await database.openTransactions())
        #expect(held.isEmpty, "\(held)")
      }
    }
  }
}

extension TestDatabase {
  /// Of all other sessions, each with its beginning and its statement.
  fileprivate func openTransactions() async throws -> Set<String> {
    try await connected { session in
      Set(
        try await session.execute(
          """
          SELECT concat_ws(' ', pid, xact_start, query) FROM pg_stat_activity
           WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
             AND xact_start IS NOT NULL
          """
        ).rows.map { try $0.get(0, as: String.self) })
    }
  }
}
