import Books
import Daemon
import Postgres
import Rules
import Sandbox
import Settings
import TestSupport
import Testing

/// What a copy of the rows that differ does to whatever hangs on these rows, and on tables of every kind.
@Suite(.gated) struct `The rows of a rebuild` {
  private static let trip = #"""
    [projections.Trip]
    events = ["travel"]
    tables = ["trip"]
    sql = '''
    INSERT INTO trip AS t (stream, legs) SELECT stream_id, count(*) FROM batch GROUP BY 1
    ON CONFLICT (stream) DO UPDATE SET legs = t.legs + excluded.legs
    '''
    """#

  private func prepared(
    _ table: String, projection: String = trip, on cluster: PrivateCluster? = nil
  ) async throws -> (TestDatabase, Settings) {
    let database = if let cluster { try await TestDatabase.make(on: cluster) } else { try await TestDatabase.make() }
    let settings = try await database.install(projection)
    try await database.script(table)
    for _ in 0..<4 { try await database.append(type: "travel", count: 3) }
    try await database.follow(settings)
    return (database, settings)
  }

  /// Two rows are the same row where the key's own index says so, and nowhere else.
  @Test(
    arguments: [
      // A generated column in the key.
      (
        "name text NOT NULL, name_key text NOT NULL GENERATED ALWAYS AS (lower(name)) STORED, legs bigint NOT NULL, PRIMARY KEY (team, name_key)",
        "name_key"
      ),
      // The column takes "anna" for "Anna", and its key does not.
      (
        "name text COLLATE blind NOT NULL, legs bigint NOT NULL); CREATE UNIQUE INDEX ON rider (team, name COLLATE \"C\"",
        "name COLLATE \"C\""
      ),
      // The key does, and its operator is in a schema that is on no search path.
      ("name far.citext NOT NULL, legs bigint NOT NULL, PRIMARY KEY (team, name)", "name"),
    ])
  func `are told apart as the index of the key tells them apart`(columns: String, key: String) async throws {
    let names = ["Anna", "Bert", "Carl", "Dora"] + (key.contains("COLLATE") ? ["anna"] : [])
    let projection = #"""
      [projections.Rider]
      events = ["rode"]
      tables = ["rider"]
      sql = '''
      INSERT INTO rider AS r (team, name, legs)
      SELECT 'red', (data->>'Name')\#(key == "name" ? "::far.citext" : ""), count(*) FROM batch GROUP BY 2
      ON CONFLICT (team, \#(key)) DO UPDATE SET legs = r.legs + excluded.legs
      '''
      """#
    let database = try await TestDatabase.make()
    let settings = try await database.install(projection)
    try await database.script(
      """
      CREATE SCHEMA far; CREATE EXTENSION citext SCHEMA far;
      CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
      CREATE TABLE rider (team text NOT NULL, \(columns));
      CREATE VIEW busy AS SELECT * FROM rider;
      """)
    for name in names { try await database.append(type: "rode", count: 2, data: "{\"Name\": \"\(name)\"}") }
    try await database.follow(settings)
    try await database.script(
      "DELETE FROM rider WHERE name::text COLLATE \"C\" IN ('Anna', 'Carl'); UPDATE rider SET legs = 9 WHERE name::text COLLATE \"C\" = 'Dora'"
    )
    let row = try await database.rebuild(settings, "Rider")
    #expect(row.state == .done && row.chosenWay == .copy, "\(row)")
    #expect(
      try await database.value(
        "SELECT string_agg(name::text COLLATE \"C\" || legs, ' ' ORDER BY name::text COLLATE \"C\") FROM rider")
        == names.sorted().map { "\($0)2" }.joined(separator: " "))
  }

  private static let ticket = """
    ; CREATE TABLE ticket (trip uuid REFERENCES trip (stream) ON DELETE CASCADE)
    """

  @Test func `are told apart by the key that foreign keys name, and keep the numbers that the table gave them`()
    async throws
  {
    let (database, settings) = try await prepared(
      "CREATE TABLE trip (id bigserial PRIMARY KEY, stream uuid UNIQUE NOT NULL, legs bigint NOT NULL)" + Self.ticket)
    // One is missing; the others have numbers that are given to other rows now.
    try await database.script(
      """
      DELETE FROM trip WHERE id = 4; UPDATE trip SET id = -id; UPDATE trip SET id = 4 + id, legs = 9;
      INSERT INTO ticket SELECT stream FROM trip;
      INSERT INTO trip (id, stream, legs) VALUES (50, gen_random_uuid(), 1);
      """)
    let before = try await database.value(
      "SELECT string_agg(id || ' ' || stream, ', ' ORDER BY id) FROM trip WHERE id < 50", as: String.self)
    var request = RebuildTable.Request()
    request.compares = true
    for changed in [3, 0] {
      let row = try await database.rebuild(settings, "Trip", request)
      #expect(row.state == .done && row.chosenWay == .copy, "\(row)")
      #expect(row.comparison?.contains("\"changed\": \(changed)") == true, "\(row.comparison ?? "")")
      #expect(try await database.value("SELECT count(*) FROM ticket", as: Int.self) == 3)
      #expect(try await database.value("SELECT count(*) || ' ' || sum(legs) FROM trip") == "4 12")
    }
    #expect(
      try await database.value(
        "SELECT string_agg(id || ' ' || stream, ', ' ORDER BY id) FROM trip WHERE stream IN (SELECT trip FROM ticket)",
        as: String.self) == before)
  }

  @Test func `are told apart by that key also where it may be null`() async throws {
    let (database, settings) = try await prepared("CREATE TABLE trip (stream uuid UNIQUE, legs bigint)" + Self.ticket)
    try await database.script(
      """
      UPDATE trip SET legs = 9; INSERT INTO ticket SELECT stream FROM trip; INSERT INTO trip VALUES (NULL, 1);
      DELETE FROM ticket WHERE trip = (SELECT stream FROM trip LIMIT 1); DELETE FROM trip WHERE stream NOT IN (SELECT trip FROM ticket)
      """)
    let row = try await database.rebuild(settings, "Trip")
    #expect(row.state == .done && row.chosenWay == .copy, "\(row)")
    #expect(try await database.value("SELECT count(*) FROM ticket", as: Int.self) == 3)
    #expect(
      try await database.value("SELECT count(stream) || ' ' || count(*) || ' ' || sum(legs) FROM trip") == "4 4 12")
  }

  @Test func `are not copied where foreign keys name several keys`() async throws {
    let (database, settings) = try await prepared(
      "CREATE TABLE trip (id bigserial PRIMARY KEY, stream uuid UNIQUE NOT NULL, legs bigint NOT NULL)" + Self.ticket
        + "; CREATE TABLE seat (trip bigint REFERENCES trip ON DELETE CASCADE)")
    await #expect {
      try await database.rebuild(settings, "Trip")
    } throws: { error in
      let problem = error as? Problem
      return problem?.code == .rebuild(.wrongWay) && problem!.message.contains("by several keys (id; stream)")
    }
    #expect(try await database.leftovers() == 0)
  }

  /// The operator of the key takes 1.0 and 1.00 for one value, and readers see which one stands there.
  @Test func `are those of the rebuild also where their keys are equal and not identical`() async throws {
    let projection = #"""
      [projections.Price]
      events = ["sold"]
      tables = ["price"]
      sql = '''
      INSERT INTO price AS p (price, sales) SELECT (data->>'Price')::numeric, count(*) FROM batch GROUP BY 1
      ON CONFLICT (price) DO UPDATE SET sales = p.sales + excluded.sales
      '''
      """#
    let database = try await TestDatabase.make()
    let settings = try await database.install(projection)
    try await database.script(
      """
      CREATE TABLE price (price numeric PRIMARY KEY, sales bigint NOT NULL);
      CREATE TABLE label (price numeric REFERENCES price ON UPDATE CASCADE)
      """)
    for price in ["1.0", "2.50"] {
      try await database.append(type: "sold", count: 2, data: "{\"Price\": \"\(price)\"}")
    }
    try await database.follow(settings)
    try await database.script(
      "INSERT INTO label SELECT price FROM price; UPDATE price SET price = 1.000 WHERE price = 1")
    #expect(try await database.rebuild(settings, "Price").state == .done)
    for table in ["price", "label"] {
      #expect(
        try await database.value("SELECT string_agg(price::text, ' ' ORDER BY price) FROM \(identifier: table)")
          == "1.0 2.50")
    }
  }

  @Test func `are told apart where the key has no plain column`() async throws {
    let (database, settings) = try await prepared(
      """
      CREATE TABLE trip (stream uuid NOT NULL, legs bigint NOT NULL);
      CREATE UNIQUE INDEX ON trip ((stream::text)); CREATE UNIQUE INDEX ON trip (stream) WHERE legs > 0; CREATE VIEW seen AS TABLE trip
      """,
      projection: Self.trip.replacing("(stream) DO", with: "((stream::text)) DO"))
    try await database.script("DELETE FROM trip WHERE ctid = (SELECT min(ctid) FROM trip); UPDATE trip SET legs = 9")
    let row = try await database.rebuild(settings, "Trip")
    #expect(row.state == .done && row.chosenWay == .copy, "\(row)")
    #expect(try await database.value("SELECT count(*) || ' ' || sum(legs) FROM trip") == "4 12")
  }

  /// Streams and their places, which are unique too.
  private static let ranked = #"""
    [projections.Trip]
    events = ["travel"]
    tables = ["trip"]
    sql = '''
    INSERT INTO trip AS t (stream, place, legs) SELECT stream_id, right(stream_id::text, 4), count(*) FROM batch GROUP BY 1
    ON CONFLICT (stream) DO UPDATE SET legs = t.legs + excluded.legs
    '''
    """#

  @Test(arguments: [false, true])
  func `are right or refused where values change places under a second unique key`(isReferenced: Bool) async throws {
    let (database, settings) = try await prepared(
      """
      CREATE TABLE trip (stream uuid PRIMARY KEY, place text NOT NULL, legs bigint NOT NULL); CREATE VIEW seen AS TABLE trip;
      CREATE TABLE ticket (trip uuid \(isReferenced ? "CONSTRAINT of_trip REFERENCES trip" : ""))
      """, projection: Self.ranked)
    try await database.script(
      """
      UPDATE trip SET place = (SELECT coalesce(min(u.place) FILTER (WHERE u.place > trip.place), min(u.place)) FROM trip AS u);
      ALTER TABLE trip ADD UNIQUE (place); INSERT INTO ticket SELECT stream FROM trip
      """)
    if isReferenced {
      let before = try await database.value(
        "SELECT string_agg(trip::text, ',' ORDER BY stream) FROM trip", as: String.self)
      await #expect {
        try await database.rebuild(settings, "Trip")
      } throws: { error in
        let problem = error as? Problem
        return problem?.code == .rebuild(.collision) && problem!.hint!.contains("Drop the foreign keys")
      }
      #expect(try await database.value("SELECT string_agg(trip::text, ',' ORDER BY stream) FROM trip") == before)
      // As the hint says.
      try await database.script("ALTER TABLE ticket DROP CONSTRAINT of_trip")
    }
    #expect(try await database.rebuild(settings, "Trip").state == .done)
    #expect(
      try await database.value("SELECT bool_and(place = right(stream::text, 4)) AND count(*) = 4 FROM trip"))
    try await database.script("ALTER TABLE ticket ADD FOREIGN KEY (trip) REFERENCES trip")
  }

  /// A trigger after the row changes it behind the copy.
  @Test func `are compared with what was rebuilt, and one that differs undoes the exchange`() async throws {
    let (database, settings) = try await prepared(
      """
      CREATE TABLE trip (stream uuid PRIMARY KEY, legs bigint NOT NULL);
      CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          UPDATE trip SET legs = 7 WHERE stream = NEW.stream AND legs <> 7; RETURN NULL;
      END $$;
      """)
    try await database.script(
      """
      CREATE TRIGGER meddle AFTER INSERT ON trip FOR EACH ROW EXECUTE FUNCTION meddle();
      DELETE FROM trip WHERE ctid = (SELECT min(ctid) FROM trip)
      """)
    await #expect {
      try await database.rebuild(settings, "Trip")
    } throws: { error in
      let error = error as? PostgresError
      return error?.sqlState == "TM310" && error!.message.contains("of which 1 differ")
    }
    #expect(try await database.value("SELECT count(*) || ' ' || sum(legs) FROM trip") == "3 9")
    // As the hint says.
    try await database.script("ALTER TABLE trip DISABLE TRIGGER meddle")
    #expect(try await database.rebuild(settings, "Trip").state == .done)
    #expect(try await database.value("SELECT count(*) || ' ' || sum(legs) FROM trip") == "4 12")
  }

  @Test(arguments: [
    ("CREATE PUBLICATION news FOR TABLE trip WITH (publish = 'insert, update')", "carries no delete"),
    ("CREATE PUBLICATION news FOR ALL TABLES WITH (publish = 'insert')", "carries no update and no delete"),
    ("ALTER TABLE trip REPLICA IDENTITY NOTHING; CREATE PUBLICATION news FOR TABLE trip", "no replica identity"),
  ])
  func `are not copied where subscribers would keep others, and the advice helps`(publication: String, what: String)
    async throws
  {
    let (database, settings) = try await prepared(
      "CREATE TABLE trip (stream uuid PRIMARY KEY, legs bigint NOT NULL)")
    try await database.script("SET client_min_messages = error; \(publication)")
    for way in [RequestedWay.auto, .inPlace] {
      var request = RebuildTable.Request()
      request.way = way
      var hint = ""
      await #expect {
        try await database.rebuild(settings, "Trip", request, restart: true)
      } throws: { error in
        let problem = error as? Problem
        hint = problem?.hint ?? ""
        return problem?.code == .rebuild(.wrongWay) && problem!.message.contains(what)
      }
      #expect(try await database.leftovers() == 0)
      guard way == .inPlace else { continue }
      let statement = String(hint.split(separator: ";")[0]).replacing("Run: ", with: "")
      try await database.script(statement)
    }
    #expect(try await database.rebuild(settings, "Trip", restart: true).state == .done)
  }

  @Test(arguments: [RequestedWay.auto, .inPlace])
  func `of tables that inherit from one stay`(way: RequestedWay) async throws {
    let (database, settings) = try await prepared(
      "CREATE TABLE trip (stream uuid PRIMARY KEY, legs bigint NOT NULL); CREATE TABLE old_trip () INHERITS (trip)")
    try await database.script("UPDATE trip SET legs = 9; INSERT INTO old_trip VALUES (gen_random_uuid(), 1)")
    var request = RebuildTable.Request()
    request.way = way
    request.compares = way == .auto
    let row = try await database.rebuild(settings, "Trip", request)
    #expect(row.state == .done, "\(row)")
    if way == .auto { #expect(row.comparison?.contains(#""only_old": 0"#) == true, "\(row)") }
    #expect(try await database.value("SELECT sum(legs) FROM ONLY trip", as: Int.self) == 12)
    #expect(try await database.value("SELECT count(*) FROM old_trip", as: Int.self) == 1)
  }

  @Test(arguments: [1, -1])
  func `leave sequences behind that go on after both`(increment: Int) async throws {
    let (database, settings) = try await prepared(
      """
      CREATE TABLE trip (stream uuid PRIMARY KEY, legs bigint NOT NULL, number int NOT NULL);
      CREATE SEQUENCE numbers INCREMENT \(increment) OWNED BY trip.number;
      ALTER TABLE trip ALTER COLUMN number SET DEFAULT nextval('numbers')
      """)
    var request = RebuildTable.Request()
    request.way = .copy
    // Once the new one is further, once the old one.
    for (set, next) in [(1, 5), (20, 21)] {
      try await database.script("SELECT setval('numbers', \(set * increment))")
      #expect(try await database.rebuild(settings, "Trip", request).state == .done)
      #expect(try await database.value("SELECT nextval('numbers')", as: Int.self) == next * increment)
    }
  }

  @Test(arguments: [
    (
      "CREATE TABLE trip (stream uuid PRIMARY KEY, legs bigint) PARTITION BY HASH (stream); "
        + "CREATE TABLE p0 PARTITION OF trip FOR VALUES WITH (MODULUS 2, REMAINDER 0); "
        + "CREATE TABLE p1 PARTITION OF trip FOR VALUES WITH (MODULUS 2, REMAINDER 1)", "partitions or inheritance"
    ),
    (
      "CREATE TABLE trip (stream uuid PRIMARY KEY, legs bigint); ALTER TABLE trip ENABLE ROW LEVEL SECURITY; "
        + "CREATE POLICY all_of_them ON trip USING (legs > 0)", "row security"
    ),
    (
      "CREATE TABLE trip (stream uuid PRIMARY KEY, legs bigint); CREATE MATERIALIZED VIEW long AS SELECT * FROM trip",
      "materialized view public.long"
    ),
  ])
  func `are copied where the table cannot be swapped`(table: String, reason: String) async throws {
    let (database, settings) = try await prepared(table)
    try await database.script(
      "UPDATE trip SET legs = 9; INSERT INTO trip VALUES (gen_random_uuid(), 1); DELETE FROM trip WHERE stream = (SELECT min(stream::text)::uuid FROM trip)"
    )
    let row = try await database.rebuild(settings, "Trip")
    #expect(row.state == .done && row.chosenWay == .copy && row.wayReason?.contains(reason) == true, "\(row)")
    #expect(try await database.value("SELECT count(*) || ' ' || sum(legs) FROM trip") == "4 12")
    #expect(try await database.leftovers() == 0)
  }

  @Test(arguments: [RequestedWay.swap, .copy])
  func `are right under whatever names`(way: RequestedWay) async throws {
    let projection = #"""
      [projections.Trip]
      tables = ['"Trip of %s"']
      key = "Id ""one"""
      sql = '''
      INSERT INTO "Trip of %s" AS t ("Id ""one""", "Legs %1$I") SELECT stream_id, count(*) FROM batch GROUP BY 1
      ON CONFLICT ("Id ""one""") DO UPDATE SET "Legs %1$I" = t."Legs %1$I" + excluded."Legs %1$I"
      '''
      """#.replacing("key = \"Id \"\"one\"\"\"", with: "key = 'Id \"one\"'")
    let (database, settings) = try await prepared(
      #"CREATE TABLE "Trip of %s" ("Id ""one""" uuid PRIMARY KEY, "Legs %1$I" bigint NOT NULL)"#, projection: projection
    )
    try await database.script(#"UPDATE "Trip of %s" SET "Legs %1$I" = 9"#)
    var request = RebuildTable.Request()
    request.way = way
    request.compares = true
    let row = try await database.rebuild(settings, "Trip", request)
    #expect(row.state == .done && row.comparison?.contains(#""changed": 4"#) == true, "\(row)")
    if way == .copy {
      request.streams = [try await database.value("SELECT stream_id::text FROM mt_events LIMIT 1", as: String.self)]
      try await database.script(#"UPDATE "Trip of %s" SET "Legs %1$I" = 3"#)
      #expect(try await database.rebuild(settings, "Trip", request).state == .done)
    }
    #expect(try await database.value(#"SELECT sum("Legs %1$I")::bigint FROM "Trip of %s""#, as: Int.self) == 12)
  }

  /// A subscriber of all tables has no such table as the new one, and would stop at its first row.
  @Test func `are never published before they are in the table that subscribers know`() async throws {
    let cluster = try await PrivateCluster.start(settings: ["fsync": "off", "wal_level": "logical"])
    do {
      let (database, settings) = try await prepared(
        "CREATE TABLE trip (stream uuid PRIMARY KEY, legs bigint NOT NULL); CREATE PUBLICATION everything FOR ALL TABLES",
        on: cluster)
      try await database.script("SELECT pg_create_logical_replication_slot('subscriber', 'pgoutput')")
      try await database.script("UPDATE trip SET legs = 9")
      let row = try await database.rebuild(settings, "Trip")
      #expect(row.state == .done && row.chosenWay == .copy && row.wayReason?.contains("everything") == true, "\(row)")
      let published = try await database.value(
        """
        SELECT coalesce(string_agg(DISTINCT m[1], ' '), '')
          FROM pg_logical_slot_peek_binary_changes('subscriber', NULL, NULL, 'proto_version', '1', 'publication_names', 'everything') AS c,
               regexp_matches(encode(c.data, 'escape'), '(tidemark_rebuild_[a-z0-9_]+|public.{4}trip)') AS m
         WHERE get_byte(c.data, 0) = ascii('R')
        """, as: String.self)
      #expect(published.contains("public") && !published.contains("tidemark_rebuild"), "\(published)")
      #expect(try await database.value("SELECT sum(legs)::bigint FROM trip", as: Int.self) == 12)
    } catch {
      await cluster.remove()
      throw error
    }
    await cluster.remove()
  }
}
