import Books
import Foundation
import Operator
import Postgres
import TestSupport
import Testing

private let seen = """
  [projections.All]
  tables = ["seen"]
  setup = "CREATE TABLE seen (seq bigint PRIMARY KEY, stream text, tenant text, headers jsonb)"
  sql = "INSERT INTO seen SELECT seq_id, stream_id::text, tenant_id, headers FROM batch"
  """

@Suite(.gated) struct `Appending` {
  @Test func `numbers the events of a stream, and returns the last`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(seen)
    let row = try await database.value(
      "SELECT (a.version, a.seq_id)::text FROM tidemark.append('00000000-0000-4000-8000-000000000001', '[{\"type\":\"a\",\"data\":1},{\"type\":\"b\",\"data\":null}]', 0) AS a",
      as: String.self)
    #expect(row == "(2,2)")
    #expect(
      try await database.value("SELECT string_agg(version || type || data, ',' ORDER BY seq_id) FROM mt_events")
        == "1a1,2bnull")
  }

  @Test func `at another version than expected raises TM302 and changes nothing`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(seen)
    try await database.connected { session in
      try await session.execute(
        "SELECT tidemark.append('00000000-0000-4000-8000-000000000001', '[{\"type\":\"a\",\"data\":1}]', 0)")
      let error = await #expect(throws: PostgresError.self) {
        try await session.execute(
          "SELECT tidemark.append('00000000-0000-4000-8000-000000000001', '[{\"type\":\"a\",\"data\":1}]', 0)")
      }
      #expect(error?.sqlState == "TM302")
      #expect(error?.message == "stream 00000000-0000-4000-8000-000000000001 expected at version 0, found at version 1")
    }
    #expect(try await database.value("SELECT count(*) FROM mt_events", as: Int.self) == 1)
  }

  @Test(arguments: ["{}", "[]", "[{\"data\":1}]", "[{\"type\":\"a\"}]", "[{\"type\":\"\",\"data\":1}]", "5"])
  func `what is no list of events is refused`(events: String) async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(seen)
    let error = await #expect(throws: PostgresError.self) {
      _ = try await database.value(
        "SELECT (tidemark.append(gen_random_uuid(), \(events)::jsonb)).version", as: Int.self)
    }
    #expect(error?.sqlState == "22023")
  }

  @Test func `from many sessions to one stream, one wins each version`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(seen)
    let wins = try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<8 {
        group.addTask {
          var wins = 0
          for version in 0..<10 {
            do {
              _ = try await database.value(
                "SELECT version FROM tidemark.append('00000000-0000-4000-8000-000000000001', '[{\"type\":\"a\",\"data\":1}]', \(version)::bigint)",
                as: Int.self)
              wins += 1
            } catch let error as PostgresError { #expect(error.sqlState == "TM302") }
          }
          return wins
        }
      }
      return try await group.reduce(0, +)
    }
    let events = try await database.value("SELECT count(*) FROM mt_events", as: Int.self)
    #expect(wins == events)
    #expect(try await database.value("SELECT count(DISTINCT version) FROM mt_events", as: Int.self) == events)
  }

  @Test func `and waiting in one transaction is refused`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(seen)
    try await database.connected { session in
      try await session.script("BEGIN; SELECT tidemark.append(gen_random_uuid(), '[{\"type\":\"a\",\"data\":1}]')")
      let error = await #expect(throws: PostgresError.self) {
        _ = try await session.execute("SELECT tidemark.wait_for('All:All')")
      }
      #expect(error?.message == "tidemark.wait_for was called in a transaction that has appended events")
    }
    let unknown = await #expect(throws: PostgresError.self) {
      try await database.script(
        "SELECT tidemark.append(gen_random_uuid(), '[{\"type\":\"a\",\"data\":1}]'); COMMIT; SELECT tidemark.wait_for('Nobody:All', '10 ms')"
      )
    }
    #expect(unknown?.sqlState == "TM303")
  }
}
