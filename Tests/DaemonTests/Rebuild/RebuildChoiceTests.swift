import Books
import Daemon
import Foundation
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
import Testing

@Suite(.gated) struct `A rebuild of what is asked for` {
  private static let trip = #"""
    [projections.Trip]
    events = ["travel"]
    tables = ["trip"]
    key = "id"
    tenant_key = "tenant"
    setup = "CREATE TABLE trip (id uuid PRIMARY KEY, tenant text, legs bigint NOT NULL, traveled numeric NOT NULL)"
    sql = '''
    INSERT INTO trip AS t (id, tenant, legs, traveled)
    SELECT stream_id, min(tenant_id), count(*), sum((data->>'Traveled')::numeric) FROM batch GROUP BY 1
    ON CONFLICT (id) DO UPDATE SET legs = t.legs + excluded.legs, traveled = t.traveled + excluded.traveled
    '''
    """#

  /// Trips of two tenants, one leg after the other.
  private func prepared(_ projections: String = trip, streams: Int = 6, legs: Int = 5) async throws -> (
    TestDatabase, Settings
  ) {
    let database = try await TestDatabase.make()
    let settings = try await database.install(projections)
    try await database.script(
      """
      SELECT tidemark.append(md5(s::text)::uuid, '[{"type": "travel", "data": {"Traveled": 1}}]', tenant_id => 'tenant ' || s % 2)
        FROM generate_series(1, \(legs)) AS l, generate_series(1, \(streams)) AS s
      """)
    try await database.follow(settings)
    return (database, settings)
  }

  private func summary(_ database: TestDatabase) async throws -> String {
    try await database.value("SELECT count(*) || ' ' || sum(legs) || ' ' || sum(traveled) FROM trip")
  }

  @Test func `stops before the exchange with --diff --dry-run, then goes on from there`() async throws {
    let (database, settings) = try await prepared()
    try await database.script(
      """
      UPDATE trip SET legs = 50 WHERE id = md5('1')::uuid; DELETE FROM trip WHERE id = md5('2')::uuid;
      INSERT INTO trip VALUES (md5('7')::uuid, 'x', 1, 1)
      """)
    let config = try Program.settings(database.conninfo, Self.trip)
    let looked = try await Program.run(["rebuild", "Trip", "--here", "--diff", "--dry-run", "-c", config])
    #expect(looked.code == 0, "\(looked)")
    #expect(
      looked.output.contains("trip: 6 old rows, 6 new; 1 only in the old table, 1 only in the new, 1 changed"),
      "\(looked)")
    #expect(looked.output.contains("legs=50") && looked.output.contains("nothing was exchanged"), "\(looked)")
    #expect(try await summary(database) == "6 71 26")
    let status = try await Program.run(["status", "-c", config])
    #expect(status.output.contains("rebuild of Trip:All: compared, 30"), "\(status)")
    // Events that came meanwhile are in it as well.
    try await database.append(type: "travel", count: 2, data: #"{"Traveled": 1}"#)
    try await database.follow(settings)
    let json = try await Program.run(["rebuild", "Trip", "--here", "--diff", "--json", "-c", config])
    #expect(json.code == 0 && json.error.isEmpty, "\(json)")
    for part in [#""state" : "done""#, #""way" : "swap""#, #""only_old" : 1"#, #""changed" : 1"#, #""legs" : 50"#] {
      #expect(json.output.contains(part), "\(json.output)")
    }
    #expect(try await summary(database) == "7 32 32")
    #expect(try await database.leftovers() == 0)
    let bare = try await Program.run(["rebuild", "Trip", "--dry-run", "-c", config])
    #expect(bare.code == 2 && bare.error.contains("--dry-run needs --diff"))
  }

  @Test func `ends at a sequence with --to, and the live shard goes on from there`() async throws {
    let (database, settings) = try await prepared()
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.script("UPDATE trip SET legs = 100, traveled = 100")
      var request = RebuildTable.Request()
      request.upTo = 12
      let row = try await database.rebuild(settings, "Trip", request, byNode: true)
      #expect(row.state == .done && row.position == 12, "\(row)")
      try await daemon.caughtUp()
      #expect(try await summary(database) == "6 30 30")
      let troubled = daemon.observed.all.filter { [.shardPaused, .shardRetrying, .shardStopped].contains($0.fact) }
      #expect(troubled.isEmpty, "\(troubled)")
      request.upTo = 31
      #expect(
        try await database.rebuild(settings, "Trip", request, byNode: true).error?.contains(
          "cannot be rebuilt up to 31") == true)
    }
  }

  @Test func `is of single streams or tenants, and leaves all other rows alone`() async throws {
    let (database, settings) = try await prepared()
    try await database.script("UPDATE trip SET legs = 100")
    var request = RebuildTable.Request()
    let first = try await database.value("SELECT md5('1')::uuid::text", as: String.self)
    request.streams = [first]
    let row = try await database.rebuild(settings, "Trip", request)
    #expect(row.state == .done && row.chosenWay == .copy && row.wayReason == "only some rows are rebuilt", "\(row)")
    #expect(try await summary(database) == "6 505 30")
    request.streams = nil
    request.tenants = ["tenant 0"]
    request.compares = true
    let tenants = try await database.rebuild(settings, "Trip", request)
    #expect(tenants.comparison?.contains(#""changed": 3"#) == true, "\(tenants)")
    #expect(try await summary(database) == "6 220 30")
    #expect(try await database.position("Trip:All") == 30)
  }

  @Test func `in parts is refused where the projection does not say which rows are whose`() async throws {
    let plain = Self.trip.replacing("key = \"id\"\n", with: "").replacing(
      "tenant_key = \"tenant\"\n", with: "key = \"nothing\"\n")
    let (database, _) = try await prepared(plain)
    let config = try Program.settings(database.conninfo, plain)
    for (arguments, words) in [
      (["--stream", "c4ca4238-a0b9-2382-0dcc-509a6f75849b"], "table trip has no column nothing"),
      (["--tenant", "tenant 1"], "Declare tenant_key"),
    ] {
      let refused = try await Program.run(["rebuild", "Trip", "--here", "-c", config] + arguments)
      #expect(refused.code == 1 && refused.error.contains(words) && refused.error.contains("TM327"), "\(refused)")
      _ = try await Program.run(["rebuild", "Trip", "--abort", "-c", config])
    }
    let keyless = try Program.settings(database.conninfo, plain.replacing("key = \"nothing\"\n", with: ""))
    let workers = try await Program.run(["rebuild", "Trip", "--here", "--workers", "2", "-c", keyless])
    #expect(workers.code == 1 && workers.error.contains("parallel = \"by-stream\""), "\(workers)")
  }

  @Test(arguments: [2, 5])
  func `is shared out to workers, each with streams of its own`(workers: Int) async throws {
    let parallel = SampleProjections.toml.replacing(
      "tables = [\"account\"]", with: "tables = [\"account\"]\nkey = \"id\""
    )
    .replacing("tables = [\"trip\"]", with: "tables = [\"trip\"]\nparallel = \"by-stream\"")
    let database = try await TestDatabase.make()
    let settings = try await database.install(parallel)
    _ = try await database.write(writers: 3, transactions: 80)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let writing = Task { try await database.write(writers: 2, transactions: 60, seed: 3) }
      for name in ["Trip", "Ledger"] {
        var request = RebuildTable.Request()
        request.workers = workers
        #expect(try await database.rebuild(settings, name, request, byNode: true).state == .done)
      }
      _ = try await writing.value
      try await daemon.caughtUp()
    }
    #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
  }

  @Test func `in place empties the tables and fills them again, and says so first`() async throws {
    let (database, _) = try await prepared()
    let config = try Program.settings(database.conninfo, Self.trip)
    try await database.script("UPDATE trip SET legs = 100")
    let unasked = try await Program.run(["rebuild", "Trip", "--here", "--in-place", "-c", config])
    #expect(unasked.code == 2 && unasked.error.contains("readers see missing and stale rows"), "\(unasked)")
    #expect(try await summary(database) == "6 600 30")
    let here = try await Program.run(["rebuild", "Trip", "--here", "--in-place", "--yes", "-c", config])
    #expect(here.code == 0 && here.output.contains("rebuilt up to 30"), "\(here)")
    #expect(try await summary(database) == "6 30 30")
    let daemon = try await DaemonProcess.start(config)
    try await database.hasNode()
    try await database.script("UPDATE trip SET legs = 100")
    let asked = try await Program.run(["rebuild", "Trip", "--in-place", "--yes", "-c", config])
    #expect(asked.code == 0, "\(asked)")
    try await database.append(type: "travel", count: 1, data: #"{"Traveled": 1}"#)
    #expect(try await Program.run(["wait", "-c", config]).code == 0)
    #expect(try await summary(database) == "7 31 31")
    let said = try await daemon.stop().error
    #expect(!said.contains("Shard paused") && !said.contains("Shard stopped"), "\(said)")
  }

  @Test func `is of every shard with --all, and needs a choice, a node and the same definition`() async throws {
    let (database, _) = try await prepared()
    let config = try Program.settings(database.conninfo, Self.trip)
    let none = try await Program.run(["rebuild", "-c", config])
    #expect(none.code == 2 && none.error.contains("expected one of names of shards, --all and -i"), "\(none)")
    let blind = try await Program.command(["sh", "-c", "exec \(Program.path) rebuild -i -c \(config) < /dev/null"])
    #expect(blind.code == 2 && blind.error.contains("-i needs a terminal"), "\(blind)")
    let nobody = try await Program.run(["rebuild", "Trip", "-c", config])
    #expect(nobody.code == 1 && nobody.error.contains("use --here"), "\(nobody)")
    let daemon = try await DaemonProcess.start(config)
    try await database.hasNode()
    let all = try await Program.run(["rebuild", "--all", "-c", config])
    #expect(
      all.code == 0 && all.output.contains("Trip:All: rebuilt up to 30") && all.output.contains("by swap"), "\(all)")
    let other = try Program.settings(database.conninfo, Self.trip.replacing("count(*)", with: "2 * count(*)"))
    let refused = try await Program.run(["rebuild", "Trip", "-c", other])
    #expect(
      refused.code == 1 && refused.error.contains("with another definition") && refused.error.contains("TM331"),
      "\(refused)")
    _ = try await daemon.stop()
    #expect(try await summary(database) == "6 30 30")
  }
}
