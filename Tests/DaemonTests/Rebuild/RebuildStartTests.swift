import Books
import Daemon
import Postgres
import Rules
import Sandbox
import Settings
import TestSupport
import Testing

/// Where a rebuild begins: where its shard did, or was told to.
@Suite(.gated) struct `A rebuild of a projection that begins somewhere` {
  private static func trip(start: String) -> String {
    #"""
    [projections.Trip]
    events = ["travel"]
    tables = ["trip"]
    start = \#(start)
    setup = "CREATE TABLE trip (id uuid PRIMARY KEY, legs bigint NOT NULL)"
    sql = '''
    INSERT INTO trip AS t (id, legs) SELECT stream_id, count(*) FROM batch GROUP BY 1
    ON CONFLICT (id) DO UPDATE SET legs = t.legs + excluded.legs
    '''
    """#
  }

  /// Three events before the shard begins, two after that.
  private func prepared(start: String) async throws -> (TestDatabase, Settings) {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.trip(start: start))
    try await database.append(type: "travel", count: 3)
    try await database.follow(settings)
    try await database.append(type: "travel", count: 2)
    try await database.follow(settings)
    return (database, settings)
  }

  private func legs(_ database: TestDatabase) async throws -> Int {
    try await database.value("SELECT coalesce(sum(legs), 0)::bigint FROM trip")
  }

  /// Marten writes a floor where it subscribes from its first run, or is told to; it never replays what is at or below it.
  @Test(arguments: [RequestedWay.auto, .inPlace])
  func `applies nothing up to the floor that a host has set, at the first start and in a rebuild`(way: RequestedWay)
    async throws
  {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.trip(start: "\"beginning\""))
    try await database.script(
      """
      CREATE TABLE mt_event_projection_floors (name varchar NOT NULL, tenant_id varchar NOT NULL, floor bigint NOT NULL,
        last_updated timestamptz DEFAULT now(), PRIMARY KEY (name, tenant_id));
      INSERT INTO mt_event_projection_floors VALUES ('Trip', '', 2), ('Trip', 'other', 4), ('Bus', '', 4)
      """)
    try await database.append(type: "travel", count: 3)
    try await database.follow(settings)
    try await database.append(type: "travel", count: 2)
    try await database.follow(settings)
    #expect(try await legs(database) == 3)
    var request = RebuildTable.Request()
    request.way = way
    request.allowsFewer = true
    #expect(try await database.rebuild(settings, "Trip", request).state == .done)
    #expect(try await legs(database) == 3)
    try await database.script("UPDATE mt_event_projection_floors SET floor = 4 WHERE name = 'Trip' AND tenant_id = ''")
    #expect(try await database.rebuild(settings, "Trip", request).state == .done)
    #expect(try await legs(database) == 1)
    #expect(try await database.position("Trip:All") == 5)
  }

  @Test(arguments: ["\"present\"", "2100-01-01T00:00:00Z", "3"], [RequestedWay.auto, .inPlace])
  func `applies what the shard did, and nothing from before`(start: String, way: RequestedWay) async throws {
    let (database, settings) = try await prepared(start: start)
    #expect(try await legs(database) == 2)
    var request = RebuildTable.Request()
    request.way = way
    let row = try await database.rebuild(settings, "Trip", request)
    #expect(row.state == .done && row.position == 5, "\(row)")
    #expect(try await legs(database) == 2)
  }

  @Test func `is refused where nobody wrote down when it was the present`() async throws {
    let (database, settings) = try await prepared(start: "\"present\"")
    try await database.script("UPDATE tidemark.shard SET first_position = NULL")
    await #expect {
      try await database.rebuild(settings, "Trip")
    } throws: { error in
      (error as? Problem)?.hint?.contains("Set `start` to the sequence") == true
    }
    #expect(try await legs(database) == 2)
    let told = try database.settings(Self.trip(start: "3"))
    #expect(try await database.rebuild(told, "Trip", restart: true).state == .done)
    #expect(try await legs(database) == 2)
  }

  @Test func `cannot end before that`() async throws {
    let (database, settings) = try await prepared(start: "3")
    var request = RebuildTable.Request()
    request.upTo = 2
    await #expect {
      try await database.rebuild(settings, "Trip", request)
    } throws: { error in
      (error as? Problem)?.message == "Trip:All begins after 3, and cannot be rebuilt up to 2"
    }
    #expect(try await database.leftovers() == 0)
  }

  @Test func `that was raised to another version but fills the same table is found by check`() async throws {
    let (database, _) = try await prepared(start: "\"beginning\"")
    let raised = Self.trip(start: "\"beginning\"").replacing("start =", with: "version = 2\nstart =")
    let same = try await Program.run(["check", "-c", try Program.settings(database.conninfo, raised)])
    #expect(
      same.code == 1
        && same.error.contains("Trip:V2:All has no position, and Trip:All, at 5, fills its table trip (TM216)"),
      "\(same)")
    for harmless in [raised.replacing("trip", with: "trip_2"), raised.replacing("\"beginning\"", with: "\"present\"")] {
      let other = try await Program.run(["check", "-c", try Program.settings(database.conninfo, harmless)])
      #expect(other.code == 0, "\(other)")
    }
  }

  @Test func `does not keep the others from theirs when it fails`() async throws {
    let both = #"""
      [projections.Bad]
      tables = ["bad"]
      setup = "CREATE TABLE bad (n int)"
      sql = "INSERT INTO bad SELECT (data->>'N')::int FROM batch"
      """# + "\n" + Self.trip(start: "\"beginning\"")
    let database = try await TestDatabase.make()
    let settings = try await database.install(both)
    try await database.append(type: "travel", count: 2, data: #"{"N": "one"}"#)
    try await database.follow(settings)
    try await database.script("UPDATE trip SET legs = 9")
    let config = try Program.settings(database.conninfo, both)
    let said = try await Program.run(["rebuild", "--all", "--here", "-c", config])
    #expect(said.code == 1 && said.output.contains("Trip:All: rebuilt up to 2"), "\(said)")
    #expect(
      said.error.contains("1 of 2 were not rebuilt") && said.error.contains("Bad:All: invalid input syntax"),
      "\(said.error)")
    #expect(try await legs(database) == 2)
  }
}
