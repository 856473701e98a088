import Books
import Daemon
import Postgres
import Rules
import Settings
import TestSupport
import Testing

/// A rebuild of some streams' or tenants' rows: what it takes out it puts in again, and what is of others it leaves alone.
@Suite(.gated) struct `A rebuild of single streams or tenants` {
  private static let trip = #"""
    [projections.Trip]
    events = ["travel"]
    tables = ["trip"]
    key = "id"
    tenant_key = "tenant"
    setup = "CREATE TABLE trip (id uuid PRIMARY KEY, tenant text, legs bigint NOT NULL)"
    sql = '''
    INSERT INTO trip AS t (id, tenant, legs) SELECT stream_id, min(tenant_id), count(*) FROM batch GROUP BY 1
    ON CONFLICT (id) DO UPDATE SET legs = t.legs + excluded.legs
    '''
    """#

  private func prepared(
    _ projection: String, table: String = "", streams: [String] = ["md5('1')::uuid", "md5('2')::uuid"],
    streamIDType: String = "uuid"
  ) async throws -> (TestDatabase, Settings) {
    let database = try await TestDatabase.make()
    let settings = try await database.install(projection, streamIDType: streamIDType)
    try await database.script(table)
    for stream in streams {
      try await database.script(
        "SELECT tidemark.append(\(stream), '[{\"type\": \"travel\", \"data\": {\"Seat\": 1}}, {\"type\": \"travel\", \"data\": {\"Seat\": 2}}]')"
      )
    }
    try await database.follow(settings)
    return (database, settings)
  }

  private func request(streams: [String]? = nil, tenants: [String]? = nil) -> RebuildTable.Request {
    var request = RebuildTable.Request()
    request.streams = streams
    request.tenants = tenants
    return request
  }

  /// The code of the problem that a rebuild ends with, and what it says.
  private func problem(_ body: () async throws -> Void) async throws -> (code: String, message: String, hint: String) {
    do {
      try await body()
      return ("none", "it went well", "")
    } catch let problem as Problem {
      return (problem.code?.text ?? "none", problem.message, problem.hint ?? "")
    }
  }

  @Test func `takes a stream's identifier however it is written`() async throws {
    let (database, settings) = try await prepared(Self.trip)
    try await database.script("UPDATE trip SET legs = 100")
    let written = try await database.value("SELECT upper(replace(md5('1')::uuid::text, '-', ''))", as: String.self)
    let row = try await database.rebuild(settings, "Trip", request(streams: [written]))
    #expect(row.state == .done, "\(row)")
    #expect(try await database.value("SELECT string_agg(legs::text, ' ' ORDER BY legs) FROM trip") == "2 100")
  }

  @Test func `refuses what identifies no stream or tenant, and leaves the rows`() async throws {
    let (database, settings) = try await prepared(Self.trip)
    for (request, words) in [
      (request(streams: ["7"]), "\"7\" is not the id of a stream"),
      (request(streams: ["00000000-0000-0000-0000-000000000000"]), "has no events"),
      (request(tenants: ["*default*"]), "tenant *default* has no events"),
    ] {
      let refused = try await problem { try await database.rebuild(settings, "Trip", request) }
      #expect(refused.code == "TM334" && refused.message.contains(words), "\(refused)")
    }
    #expect(try await database.value("SELECT sum(legs)::bigint FROM trip", as: Int.self) == 4)
  }

  /// Streams that differ in what the column does not tell apart, or that hold what a format would read as its own.
  @Test func `takes identifiers to the letter`() async throws {
    let legs = #"""
      [projections.Leg]
      tables = ["leg"]
      key = "trip"
      sql = "INSERT INTO leg SELECT seq_id, stream_id FROM batch"
      """#
    let streams = ["abc", "ABC", "100%s", "100o", "it's", "", "{a,b}", "a\u{1F}b"]
    let (database, settings) = try await prepared(
      legs,
      table: """
        CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE TABLE leg (seq bigint PRIMARY KEY, trip text COLLATE blind, note text)
        """, streams: streams.map { SQL.quoted(literal: $0) }, streamIDType: "varchar")
    for stream in streams {
      try await database.script("UPDATE leg SET note = 'old'")
      let row = try await database.rebuild(settings, "Leg", request(streams: [stream]))
      #expect(row.state == .done, "\(row)")
      #expect(
        try await database.value(
          "SELECT coalesce(string_agg(DISTINCT trip COLLATE \"C\", ' '), '') FROM leg WHERE note IS NULL",
          as: String.self)
          == stream)
      #expect(try await database.value("SELECT count(*) FROM leg WHERE note IS NULL", as: Int.self) == 2)
      #expect(try await database.value("SELECT count(*) FROM leg", as: Int.self) == 2 * streams.count)
    }
  }

  @Test func `is refused where the table numbers its rows itself`() async throws {
    let legs = #"""
      [projections.Leg]
      tables = ["leg"]
      key = "trip"
      sql = "INSERT INTO leg (trip) SELECT stream_id FROM batch"
      """#
    let (database, settings) = try await prepared(legs, table: "CREATE TABLE leg (id bigserial PRIMARY KEY, trip uuid)")
    let stream = try await database.value("SELECT md5('2')::uuid::text", as: String.self)
    let refused = try await problem { try await database.rebuild(settings, "Leg", request(streams: [stream])) }
    #expect(
      refused.code == "TM327" && refused.message.contains("table leg generates its key, id"), "\(refused)")
    #expect(try await database.value("SELECT count(*) FROM leg", as: Int.self) == 4)
  }

  @Test func `ends where a new row has the key of another stream's row, or is another's by its key`() async throws {
    let seats = #"""
      [projections.Seat]
      tables = ["seat"]
      key = "trip"
      sql = "INSERT INTO seat SELECT (data->>'Seat')::int, stream_id, md5('2')::uuid FROM batch ON CONFLICT DO NOTHING"
      """#
    let (database, settings) = try await prepared(
      seats, table: "CREATE TABLE seat (number int PRIMARY KEY, trip uuid, other uuid)")
    let stream = try await database.value("SELECT md5('2')::uuid::text", as: String.self)
    let collided = try await problem { try await database.rebuild(settings, "Seat", request(streams: [stream])) }
    #expect(collided.code == "TM335" && collided.message.contains("seat_pkey"), "\(collided)")
    // The server's detail repeats the row.
    #expect(!collided.hint.isEmpty && !collided.hint.contains("Key ("), "\(collided)")
    #expect(try await database.value("SELECT count(*) FROM seat WHERE trip = md5('1')::uuid", as: Int.self) == 2)
    let first = try await database.value("SELECT md5('1')::uuid::text", as: String.self)
    let mistaken = try database.settings(seats.replacing("key = \"trip\"", with: "key = \"other\""))
    let refused = try await problem { try await database.rebuild(mistaken, "Seat", request(streams: [first])) }
    #expect(refused.code == "TM327" && refused.message.contains("2 rows of table public.seat"), "\(refused)")
    #expect(try await database.value("SELECT count(*) FROM seat", as: Int.self) == 2)
  }
}
