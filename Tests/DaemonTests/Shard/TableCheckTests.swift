import Books
import Daemon
import Operator
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

/// Names change: of projections, of tables, of what belongs to them. Rows must not.
@Suite(.gated) struct `A position and its tables` {
  private static func trip(_ name: String = "Trip", _ more: String = "tables = [\"trip\"]", table: String = "trip")
    -> String
  {
    #"""
    [projections.\#(name)]
    events = ["travel"]
    \#(more)
    setup = "CREATE TABLE IF NOT EXISTS trip (stream uuid PRIMARY KEY, legs bigint NOT NULL)"
    sql = '''
    INSERT INTO \#(table) AS t (stream, legs) SELECT stream_id, count(*) FROM batch GROUP BY 1
    ON CONFLICT (stream) DO UPDATE SET legs = t.legs + excluded.legs
    '''

    """#
  }

  /// A daemon has applied five events of two streams.
  private func followed(_ projections: String = trip()) async throws -> TestDatabase {
    let database = try await TestDatabase.make()
    let settings = try await database.install(projections)
    try await database.append(type: "travel", count: 2)
    try await database.append(type: "travel", count: 3)
    try await database.follow(settings)
    return database
  }

  private func legs(_ database: TestDatabase) async throws -> String {
    try await database.value("SELECT coalesce(string_agg(legs::text, ' ' ORDER BY legs), '') FROM trip")
  }

  /// What the shard waits for.
  private func refusal(_ daemon: RunningDaemon) async throws -> Problem {
    try await daemon.observed.first("the shard waits") { $0.when(.shardMismatched)?.failure }
  }

  private func verb(_ words: String..., for projections: String, _ database: TestDatabase) async throws
    -> Program.Outcome
  {
    try await Program.run(words + ["-c", try Program.settings(database.conninfo, projections)])
  }

  @Test(arguments: ["tables = [\"trip\"]", "tables = [\"public.trip\"]", "tables = [\"trip\"]\nversion = 2"])
  func `stay together when the projection is renamed, and the verb that is named brings them there`(more: String)
    async throws
  {
    let database = try await followed()
    let renamed = Self.trip("Journey", more)
    let settings = try database.settings(renamed)
    let new = "\(settings.projections[0].shard)"
    let check = try await verb("check", for: renamed, database)
    #expect(
      check.code == 1 && check.error.contains("TM216") && check.error.contains("tidemark move Trip:All \(new)"),
      "\(check)")
    // A name of its own: the first daemon may end before its books say so.
    try await withDaemon(settings, node: "second") { daemon in
      let problem = try await refusal(daemon)
      #expect(problem.hint?.contains("`tidemark move Trip:All \(new)`") == true, "\(problem)")
      try await eventually("status says what to do") {
        try await database.value(
          "SELECT count(*) FROM tidemark.shard WHERE name = \(new) AND condition = 'paused' AND reason LIKE '%tidemark move Trip:All%'",
          as: Int.self) == 1
      }
      #expect(try await legs(database) == "2 3")
      #expect(try await database.position(new) == nil)
      let moved = try await verb("move", "Trip:All", "Journey", for: renamed, database)
      #expect(moved.code == 0 && moved.output.contains("\(new) continues at 5, where Trip:All was"), "\(moved)")
      try await database.append(type: "travel", count: 4)
      try await daemon.caughtUp()
      #expect(try await legs(database) == "2 3 4")
    }
    #expect(try await database.position("Trip:All") == nil)
    #expect(try await verb("check", for: renamed, database).code == 0)
  }

  @Test func `stay together when a reload renames the projection, with its dead letters`() async throws {
    let database = try await TestDatabase.make()
    let old = Self.trip().replacing("count(*)", with: "sum((data->>'Legs')::bigint)")
    let settings = try await database.install(old)
    let renamed = old.replacing("projections.Trip", with: "projections.Journey")
    let new = try database.settings(renamed)
    try await withDaemon(settings) { daemon in
      try await database.append(type: "travel", count: 2, data: #"{"Legs": 1}"#)
      try await database.append(type: "travel", count: 1, data: #"{"Legs": "x"}"#)
      try await daemon.caughtUp()
      _ = await daemon.daemon.reload { () throws(SettingsProblems) in new }
      _ = try await refusal(daemon)
      let moved = try await verb("move", "Trip:All", "Journey:All", for: renamed, database)
      #expect(moved.code == 0, "\(moved)")
      try await database.append(type: "travel", count: 1, data: #"{"Legs": 7}"#)
      try await daemon.caughtUp(["Journey:All"])
      #expect(try await legs(database) == "2 7")
      #expect(try await database.value("SELECT string_agg(shard, ' ') FROM tidemark.dead_letter") == "Journey:All")
    }
  }

  @Test func `are not moved from or to a name that is in use`() async throws {
    let database = try await followed()
    let both = Self.trip("Journey", "")
    let old = try await verb("move", "Trip:All", "Trip", for: Self.trip(), database)
    #expect(old.code == 2 && old.error.contains("Trip:All is declared in the settings"), "\(old)")
    let nobody = try await verb("move", "Nobody:All", "Journey", for: both, database)
    #expect(nobody.code == 1 && nobody.error.contains("there is no position of Nobody:All"), "\(nobody)")
    let unknown = try await verb("move", "Trip:All", "Travel", for: both, database)
    #expect(unknown.code == 2 && unknown.error.contains("there is no shard \"Travel\" in the settings"), "\(unknown)")
    try await database.script("INSERT INTO mt_event_progression (name, last_seq_id) VALUES ('Journey:All', 1)")
    let taken = try await verb("move", "Trip:All", "Journey", for: both, database)
    #expect(taken.code == 1 && taken.error.contains("Journey:All has a position of its own already, 1"), "\(taken)")
    #expect(try await database.position("Trip:All") == 5)
  }

  @Test func `part when the old name is forgotten, which says what stays`() async throws {
    let database = try await followed()
    let renamed = Self.trip("Journey")
    let forgotten = try await verb("forget", "Trip:All", for: renamed, database)
    #expect(forgotten.code == 0 && forgotten.output.contains("what it filled stays: public.trip"), "\(forgotten)")
    let settings = try database.settings(renamed)
    try await withDaemon(settings) { daemon in
      let problem = try await refusal(daemon)
      #expect(
        problem.message.contains("its table trip has rows") && problem.hint?.contains("TRUNCATE trip") == true,
        "\(problem)")
      // As the hint says.
      try await database.script("TRUNCATE trip")
      try await daemon.caughtUp()
      #expect(try await legs(database) == "2 3")
    }
  }

  @Test func `that another program has reset wait, and do not add up`() async throws {
    let database = try await followed()
    try await database.script("DELETE FROM mt_event_progression")
    try await withDaemon(try database.settings(Self.trip())) { daemon in
      let problem = try await daemon.observed.first("the shard waits") { $0.when(.shardMoved)?.failure }
      #expect(problem.message.contains("Trip:All has no position, and Tidemark left it at 5"), "\(problem)")
      #expect(try await legs(database) == "2 3")
    }
    let told = Self.trip("Trip", "tables = [\"trip\"]\non_mismatch = \"continue\"")
    try await withDaemon(try database.settings(told)) { try await $0.caughtUp() }
    #expect(try await legs(database) == "4 6")
  }

  @Test func `are told apart from a table that was created again`() async throws {
    let database = try await followed()
    let (settings, config) = (try database.settings(Self.trip()), Self.trip())
    try await database.script("DROP TABLE trip")
    #expect(try await verb("init", for: config, database).code == 0)
    let check = try await verb("check", for: config, database)
    #expect(
      check.code == 1 && check.error.contains("its table trip is an empty table that was created since"), "\(check)")
    try await withDaemon(settings) { daemon in
      let problem = try await refusal(daemon)
      #expect(problem.hint?.contains("`tidemark rebuild Trip`") == true, "\(problem)")
      try await database.hasNode()
      let rebuilt = try await verb("rebuild", "Trip", for: config, database)
      #expect(rebuilt.code == 0, "\(rebuilt)")
      try await database.append(type: "travel", count: 1)
      try await daemon.caughtUp()
      #expect(try await legs(database) == "1 2 3")
    }
    // The exchange has put another table there: that one is known.
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(daemon.observed.all.filter { $0.fact == .shardMismatched || $0.fact == .tablesReplaced }.isEmpty)
    }
  }

  @Test func `are told apart from a table that was copied, with a word`() async throws {
    let database = try await followed()
    try await database.script(
      "CREATE TABLE copy (LIKE trip INCLUDING ALL); INSERT INTO copy SELECT * FROM trip; DROP TABLE trip; ALTER TABLE copy RENAME TO trip"
    )
    try await withDaemon(try database.settings(Self.trip())) { daemon in
      let problem = try await daemon.observed.first("a word about it") { $0.when(.tablesReplaced)?.failure }
      #expect(problem.message.contains("is another one than it filled"), "\(problem)")
      try await database.append(type: "travel", count: 1)
      try await daemon.caughtUp()
      #expect(try await legs(database) == "1 2 3")
    }
  }

  @Test func `of another program wait for a rebuild while the table is empty`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.trip())
    try await database.append(type: "travel", count: 2)
    try await database.script("INSERT INTO mt_event_progression (name, last_seq_id) VALUES ('Trip:All', 2)")
    try await withDaemon(settings) { daemon in
      let problem = try await refusal(daemon)
      #expect(problem.message.contains("Trip:All is at 2, and its table trip is empty"), "\(problem)")
      let rebuilt = try await verb("rebuild", "Trip", "--in-place", "--yes", for: Self.trip(), database)
      #expect(rebuilt.code == 0, "\(rebuilt)")
      try await daemon.caughtUp()
      #expect(try await legs(database) == "2")
    }
  }

  @Test func `are known after the whole database was restored`() async throws {
    let database = try await followed()
    // Every table has another number then, ours too.
    try await database.script(
      "UPDATE tidemark.filled_table SET relation = 1, beside = 2")
    try await withDaemon(try database.settings(Self.trip())) { daemon in
      try await database.append(type: "travel", count: 1)
      try await daemon.caughtUp()
      #expect(daemon.observed.all.filter { $0.fact == .shardMismatched || $0.fact == .tablesReplaced }.isEmpty)
    }
    #expect(try await database.value("SELECT relation = 'trip'::regclass FROM tidemark.filled_table", as: Bool.self))
  }

  @Test func `that do the same work under a new name wait, if no table tells`() async throws {
    let work = #"sql = "SELECT count(*) FROM batch""#
    let database = try await followed("[projections.Mail]\n\(work)\n")
    let renamed = "[projections.Letters]\n\(work)\n"
    try await withDaemon(try database.settings(renamed)) { daemon in
      let problem = try await refusal(daemon)
      #expect(
        problem.message.contains("Mail:All, which the settings no longer declare, did the same work up to 5"),
        "\(problem)")
      #expect(try await verb("move", "Mail:All", "Letters", for: renamed, database).code == 0)
      try await daemon.caughtUp()
      #expect(try await database.position("Letters:All") == 5)
    }
    // Two that are declared side by side are two.
    try await withDaemon(try database.settings(renamed + "[projections.Cards]\n\(work)\n")) { try await $0.caughtUp() }
  }

  @Test func `are not shared by two projections, whatever they call the table`() async throws {
    let database = try await followed()
    let both = Self.trip() + Self.trip("Journey", "tables = [\"public.trip\"]", table: "public.trip")
    let check = try await verb("check", for: both, database)
    #expect(check.code == 1 && check.error.contains("is one that the projection Trip declares too"), "\(check)")
    try await withDaemon(try database.settings(both)) { daemon in
      let problem = try await refusal(daemon)
      #expect(problem.message.contains("Trip:All, at 5, fills its table public.trip"), "\(problem)")
      try await database.append(type: "travel", count: 1)
      try await daemon.caughtUp(["Trip:All"])
      #expect(try await legs(database) == "1 2 3")
    }
  }
}
