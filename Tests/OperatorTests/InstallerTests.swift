import Books
import Foundation
import Operator
import Postgres
import Settings
import TestSupport
import Testing

private let seen = """
  [projections.All]
  tables = ["seen"]
  setup = "CREATE TABLE seen (seq bigint PRIMARY KEY, stream text, tenant text, headers jsonb)"
  sql = "INSERT INTO seen SELECT seq_id, stream_id::text, tenant_id, headers FROM batch"
  """

@Suite(.gated) struct `The store that init makes` {
  @Test func `is made once, and init says so the second time`() async throws {
    let database = try await TestDatabase.make()
    let settings = try database.settings(seen)
    let installer = Installer(settings: settings)
    try await database.connected { session in
      let planned = try await installer.plan(session, streamIDType: "uuid")
      #expect(planned.steps.map(\.title).first == "an event store in Marten's shape")
      #expect(
        try await session.execute("SELECT to_regclass('mt_events') IS NULL").rows[0].get(0, as: Bool.self),
        "a plan changes nothing")
      let first = try await installer.install(session, streamIDType: "uuid")
      #expect(first.steps == planned.steps)
      let second = try await installer.install(session, streamIDType: "uuid")
      #expect(second.isEmpty)
    }
  }

  @Test func `can be made by psql from the printed plan`() async throws {
    let database = try await TestDatabase.make()
    let settings = try database.settings(seen)
    try await database.connected { session in
      let plan = try await Installer(settings: settings).plan(session, streamIDType: "uuid")
      _ = try await session.script(plan.script)
      #expect(try await Installer(settings: settings).plan(session, streamIDType: "uuid").isEmpty)
    }
  }
}
