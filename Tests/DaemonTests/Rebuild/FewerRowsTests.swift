import Books
import Daemon
import Operator
import Postgres
import Rules
import Settings
import TestSupport
import Testing

/// A rebuild is how people repair a read model; it must not be how they lose one.
@Suite(.gated) struct `A rebuild that would take rows away` {
  private static func trip(_ more: String = "", table: String = "trip") -> String {
    #"""
    [projections.Trip]
    events = ["travel"]
    tables = ["trip"]
    setup = "CREATE TABLE trip (stream uuid PRIMARY KEY, legs bigint NOT NULL)"
    \#(more)
    sql = '''
    INSERT INTO \#(table) AS t (stream, legs) SELECT stream_id, count(*) FROM batch GROUP BY 1
    ON CONFLICT (stream) DO UPDATE SET legs = t.legs + excluded.legs
    '''
    """#
  }

  private func followed(_ projections: String) async throws -> (TestDatabase, Settings) {
    let database = try await TestDatabase.make()
    let settings = try await database.install(projections)
    for count in 1...3 { try await database.append(type: "travel", count: count) }
    try await database.follow(settings)
    return (database, settings)
  }

  private func legs(_ database: TestDatabase) async throws -> String {
    try await database.value("SELECT coalesce(string_agg(legs::text, ' ' ORDER BY legs), '') FROM trip")
  }

  private static func request(_ way: RequestedWay = .auto, allowsFewer: Bool = false) -> RebuildTable.Request {
    var request = RebuildTable.Request()
    request.way = way
    request.allowsFewer = allowsFewer
    return request
  }

  /// Removes a stream: its events, or its row in the streams too.
  private static let purges = [
    "DELETE FROM mt_events WHERE seq_id IN (2, 3)",
    "DELETE FROM mt_streams WHERE id = (SELECT stream_id FROM mt_events WHERE seq_id = 2)",
  ]

  @Test(arguments: purges, [RequestedWay.swap, .copy])
  func `because events were removed stops before the exchange, and continues with a yes`(
    purge: String, way: RequestedWay
  ) async throws {
    let (database, settings) = try await followed(Self.trip())
    try await database.script(purge)
    await #expect {
      try await database.rebuild(settings, "Trip", Self.request(way))
    } throws: { error in
      let problem = error as? Problem
      return problem?.code == .rebuild(.fewerRows) && problem?.hint?.contains("--fewer-rows") == true
        && (problem?.message.hasPrefix("trip would have 2 rows instead of 3") == true
          || problem?.message.contains("needs events that the store no longer has: 1 stream lacks events") == true)
    }
    #expect(try await legs(database) == "1 2 3")
    #expect(try await database.rebuild(settings, "Trip", Self.request(way, allowsFewer: true)).state == .done)
    #expect(try await legs(database) == "1 3")
    #expect(try await database.leftovers() == 0)
  }

  @Test func `can be told so on the command line, as its hint says`() async throws {
    let (database, _) = try await followed(Self.trip())
    try await database.script(Self.purges[0])
    let config = try Program.settings(database.conninfo, Self.trip())
    let refused = try await Program.run(["rebuild", "Trip", "--here", "-c", config])
    #expect(
      refused.code == 1 && refused.error.contains("1 stream lacks events that were removed (")
        && refused.error.contains("--diff --dry-run"), "\(refused)")
    let shown = try await Program.run(["rebuild", "Trip", "--diff", "--dry-run", "--here", "-c", config])
    #expect(shown.code == 0 && shown.output.contains("1 only in the old table"), "\(shown)")
    let told = try await Program.run(["rebuild", "Trip", "--fewer-rows", "--here", "-c", config])
    #expect(told.code == 0, "\(told)")
    #expect(try await legs(database) == "1 3")
  }

  @Test(arguments: [("", purges[0]), ("key = \"stream\"", purges[1])])
  func `in place stops before it empties anything`(more: String, purge: String) async throws {
    let (database, settings) = try await followed(Self.trip(more))
    try await database.script(purge)
    await #expect {
      try await database.rebuild(settings, "Trip", Self.request(.inPlace))
    } throws: { error in (error as? Problem)?.code == .rebuild(.fewerRows) }
    #expect(try await legs(database) == "1 2 3")
    #expect(try await database.position("Trip:All") == 6)
    #expect(try await database.rebuild(settings, "Trip", Self.request(.inPlace, allowsFewer: true)).state == .done)
    #expect(try await legs(database) == "1 3")
  }

  @Test func `or count events twice in a table that it does not empty is refused in place`() async throws {
    let config = Self.trip().replacing("    '''\n", with: "").replacing(
      "excluded.legs\n'''", with: "excluded.legs;\nINSERT INTO total SELECT count(*) FROM batch\n'''")
    let database = try await TestDatabase.make()
    try await database.script("CREATE TABLE total (legs bigint)")
    let settings = try await database.install(config)
    try await database.append(type: "travel", count: 3)
    try await database.follow(settings)
    await #expect {
      try await database.rebuild(settings, "Trip", Self.request(.inPlace))
    } throws: { error in
      let problem = error as? Problem
      return problem?.code == .rebuild(.notEmptied) && problem?.message.contains("writes public.total") == true
        && problem?.hint?.contains("projections.Trip.tables") == true
    }
    #expect(try await legs(database) == "3")
    // As the hint says.
    let told = try database.settings(config.replacing("[\"trip\"]", with: "[\"trip\", \"total\"]"))
    #expect(try await database.rebuild(told, "Trip", Self.request(.inPlace)).state == .done)
    #expect(try await database.value("SELECT sum(legs)::text FROM total") == "3")
  }

  @Test(
    arguments: [
      ("CREATE TABLE ticket (trip uuid REFERENCES trip ON DELETE CASCADE)", "public.ticket"),
      ("CREATE TABLE ticket (trip uuid REFERENCES trip ON DELETE SET NULL)", "public.ticket"),
      ("CREATE RULE keep AS ON DELETE TO trip DO INSTEAD NOTHING", "trip has rows that DELETE does not remove"),
      (
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER keep BEFORE DELETE ON trip FOR EACH ROW EXECUTE FUNCTION keep()",
        "trip has rows that DELETE does not remove"
      ),
    ])
  func `of others, or keep its own, is refused in place`(obstacle: String, expected: String) async throws {
    let (database, settings) = try await followed(Self.trip())
    try await database.script(obstacle)
    await #expect {
      try await database.rebuild(settings, "Trip", Self.request(.inPlace))
    } throws: { error in
      let problem = error as? Problem
      return problem?.code == .rebuild(.notEmptied) && problem?.message.contains(expected) == true
    }
    #expect(try await legs(database) == "1 2 3")
    #expect(try await database.position("Trip:All") == 6)
  }

  @Test func `is none if it ends with as many, or ends earlier on purpose`() async throws {
    let (database, settings) = try await followed(Self.trip())
    try await database.script("UPDATE trip SET legs = 9")
    #expect(try await database.rebuild(settings, "Trip").state == .done)
    #expect(try await legs(database) == "1 2 3")
    var request = RebuildTable.Request()
    request.upTo = 1
    #expect(try await database.rebuild(settings, "Trip", request).state == .done)
    #expect(try await legs(database) == "1")
  }
}
