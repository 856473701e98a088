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
      var longest = 0
      try await database.connected { session in
        for _ in 0..<100 {
          let age = try await session.execute(
            """
            SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start) * 1000), 0)::bigint FROM pg_stat_activity
             WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
            """
          ).rows[0].get(0, as: Int.self)
          longest = max(longest, age)
          try await Task.sleep(for: .milliseconds(20))
        }
      }
      #expect(longest < 1_000, "milliseconds")
    }
  }
}
