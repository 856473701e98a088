import Daemon
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

/// The steps of FROM MARTEN in tidemark(7). The host here is a script that does what a host's projection `Trip` does to the rows.
@Suite(.gated) struct `A projection that a host gives over` {
  private static func projection(_ name: String, table: String, setup: Bool = true) -> String {
    #"""
    [projections.\#(name)]
    events = ["travel"]
    tables = ["\#(table)"]
    \#(setup ? "setup = \"CREATE TABLE \(table) (stream uuid PRIMARY KEY, legs bigint NOT NULL)\"" : "")
    sql = '''
    INSERT INTO \#(table) AS t (stream, legs) SELECT stream_id, count(*) FROM batch GROUP BY 1
    ON CONFLICT (stream) DO UPDATE SET legs = t.legs + excluded.legs
    '''

    """#
  }

  /// One round of the host's own projection, with its position.
  private static let host = """
    WITH at AS (SELECT coalesce((SELECT last_seq_id FROM mt_event_progression WHERE name = 'Trip:All'), 0) AS position),
    page AS (SELECT e.stream_id, e.seq_id FROM mt_events AS e, at WHERE e.seq_id > at.position),
    moved AS (INSERT INTO mt_event_progression (name, last_seq_id) SELECT 'Trip:All', max(seq_id) FROM page HAVING count(*) > 0
              ON CONFLICT (name) DO UPDATE SET last_seq_id = excluded.last_seq_id)
    INSERT INTO trip AS t (stream, legs) SELECT stream_id, count(*) FROM page GROUP BY 1
    ON CONFLICT (stream) DO UPDATE SET legs = t.legs + excluded.legs
    """

  /// A host has applied five events to its table.
  private func hosted() async throws -> TestDatabase {
    let database = try await TestDatabase.make()
    _ = try await database.install("")
    try await database.script("CREATE TABLE trip (stream uuid PRIMARY KEY, legs bigint NOT NULL)")
    for count in [2, 3] { try await database.append(type: "travel", count: count) }
    try await database.script(Self.host)
    return database
  }

  private func differences(_ database: TestDatabase) async throws -> Int {
    try await database.value(
      "SELECT count(*) FROM ((TABLE trip EXCEPT TABLE trip_next) UNION ALL (TABLE trip_next EXCEPT TABLE trip)) AS d")
  }

  @Test func `is filled beside the host's, compared, switched to, and left again`() async throws {
    let database = try await hosted()
    let toml = Self.projection("TripNext", table: "trip_next")
    let config = try Program.settings(database.conninfo, toml)
    for verb in ["init", "check"] {
      let outcome = try await Program.run([verb, "-c", config])
      #expect(outcome.code == 0, "\(outcome)")
    }
    try await withDaemon(try database.settings(toml)) { daemon in
      try await database.append(type: "travel", count: 4)
      try await database.script(Self.host)
      let waited = try await Program.run(["wait", "TripNext", "-c", config])
      #expect(waited.code == 0, "\(waited)")
      #expect(try await differences(database) == 0)
      // The host has it no longer, and has it again.
      try await database.append(type: "travel", count: 1)
      try await daemon.caughtUp()
      #expect(try await differences(database) == 1)
      #expect(try await database.position("Trip:All") == 9)
      let listed = try await Program.run(["list", "-c", config])
      #expect(listed.output.contains("Trip:All"), "\(listed)")
      try await database.script(Self.host)
      #expect(try await differences(database) == 0)
    }
    let forgotten = try await Program.run(["forget", "TripNext:All", "-c", try Program.settings(database.conninfo, "")])
    #expect(forgotten.code == 0, "\(forgotten)")
    #expect(try await database.position("Trip:All") == 10)
  }

  @Test func `continues on the host's own table, and goes back to it`() async throws {
    let database = try await hosted()
    let settings = try database.settings(Self.projection("Trip", table: "trip", setup: false))
    try await database.append(type: "travel", count: 4)
    try await database.follow(settings)
    #expect(try await database.value("SELECT string_agg(legs::text, ' ' ORDER BY legs) FROM trip") == "2 3 4")
    try await database.append(type: "travel", count: 6)
    try await database.script(Self.host)
    #expect(try await database.value("SELECT string_agg(legs::text, ' ' ORDER BY legs) FROM trip") == "2 3 4 6")
  }

  /// Under the host's name, with a table that has just been made.
  @Test func `does not start on a new table at the host's position`() async throws {
    let database = try await hosted()
    let toml = Self.projection("Trip", table: "trip_next")
    let config = try Program.settings(database.conninfo, toml)
    _ = try await Program.run(["init", "-c", config])
    let checked = try await Program.run(["check", "-c", config])
    #expect(checked.code == 1 && checked.error.contains("TM216"), "\(checked)")
    try await withDaemon(try database.settings(toml)) { daemon in
      let problem = try await daemon.observed.first("the shard waits") { $0.when(.shardMismatched)?.failure }
      #expect(problem.code == .store(.mismatch), "\(problem)")
    }
    #expect(try await database.position("Trip:All") == 5)
  }
}
