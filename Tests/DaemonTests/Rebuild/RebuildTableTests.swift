import Books
import Daemon
import Postgres
import Rules
import Settings
import TestSupport
import Testing

/// What hangs on a table, before and after: an exchange changes rows, and nothing else that anybody could see.
@Suite(.gated) struct `The tables of a rebuild` {
  private static let trip = #"""
    [projections.Trip]
    events = ["travel"]
    tables = ["trip"]
    sql = '''
    INSERT INTO trip AS t (stream, note, legs) SELECT stream_id, max(data->>'Note'), count(*) FROM batch GROUP BY 1
    ON CONFLICT ON CONSTRAINT "the key" DO UPDATE SET legs = t.legs + excluded.legs
    '''
    """#

  /// A table with all that a copy of it might lose.
  private static let table = """
    CREATE TYPE mood AS ENUM ('calm');
    CREATE FUNCTION short(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT left(t, 3)';
    CREATE TABLE trip (
      gone int,
      number bigint GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 5),
      serial serial,
      stream uuid CONSTRAINT "the key" PRIMARY KEY,
      note text COLLATE "C" DEFAULT 'none',
      legs bigint NOT NULL CONSTRAINT positive CHECK (legs > 0),
      double bigint GENERATED ALWAYS AS (legs * 2) STORED,
      mood mood NOT NULL DEFAULT 'calm'
    ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
    ALTER TABLE trip DROP COLUMN gone;
    CREATE UNIQUE INDEX "Serial, once" ON trip (serial) INCLUDE (legs) WITH (fillfactor = 80);
    CREATE INDEX trip_b ON trip (short(note), legs DESC NULLS LAST) WHERE legs > 1;
    CREATE INDEX trip_a ON trip USING brin (number);
    CREATE INDEX "an index whose name is almost as long as names can be, the 1st" ON trip (note);
    CREATE INDEX "an index whose name is almost as long as names can be, the 2nd" ON trip (legs);
    ALTER TABLE trip ALTER COLUMN legs SET NOT NULL;
    CREATE STATISTICS "note and mood" (dependencies) ON note, mood FROM trip;
    ALTER TABLE trip ADD CONSTRAINT no_two EXCLUDE USING btree (number WITH =) DEFERRABLE;
    ALTER TABLE trip ALTER COLUMN note SET STATISTICS 500, ALTER COLUMN note SET STORAGE EXTERNAL,
                     ALTER COLUMN legs SET (n_distinct = -0.5);
    ALTER INDEX trip_b ALTER COLUMN 1 SET STATISTICS 300;
    ALTER TABLE trip REPLICA IDENTITY USING INDEX "the key";
    ALTER TABLE trip CLUSTER ON "the key";
    COMMENT ON TABLE trip IS 'the trips'; COMMENT ON COLUMN trip.note IS 'a note'; COMMENT ON INDEX trip_b IS 'an index';
    ALTER STATISTICS "note and mood" SET STATISTICS 70; COMMENT ON STATISTICS "note and mood" IS 'statistics';
    CREATE SCHEMA elsewhere; CREATE STATISTICS elsewhere.three (ndistinct) ON note, legs FROM trip;
    COMMENT ON SEQUENCE trip_serial_seq IS 'serial numbers'; COMMENT ON SEQUENCE trip_number_seq IS 'numbers';
    ALTER TABLE trip SET (toast.autovacuum_vacuum_threshold = 99);
    COMMENT ON CONSTRAINT positive ON trip IS 'more than none'; COMMENT ON CONSTRAINT "the key" ON trip IS 'a key';
    """

  /// Everything the catalog says of the table, without identifiers that only count.
  private static let description: SQL = """
    SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
      SELECT format('column %s %s %s %s %s %s %s %s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                    a.attgenerated, a.attstattarget, a.attstorage,
                    -- The server keeps options of its own there.
                    (SELECT array_agg(o) FROM unnest(a.attoptions) AS o WHERE o LIKE 'n_distinct%'), a.attacl, pg_get_expr(d.adbin, d.adrelid)) AS line
        FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
       WHERE a.attrelid = 'trip'::regclass AND a.attnum > 0 AND NOT a.attisdropped
      UNION ALL SELECT format('table %s %s %s %s %s %s', c.relnamespace::regnamespace, c.relowner::regrole, c.relacl, c.reloptions,
                              c.relreplident, c.relpersistence) FROM pg_class AS c WHERE c.oid = 'trip'::regclass
      UNION ALL SELECT format('index %s %s %s %s', pg_get_indexdef(i.indexrelid), i.indisreplident, i.indisclustered,
                              (SELECT array_agg(a.attstattarget ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = i.indexrelid))
        FROM pg_index AS i WHERE i.indrelid = 'trip'::regclass
      UNION ALL SELECT format('constraint %s %s', k.conname, pg_get_constraintdef(k.oid)) FROM pg_constraint AS k
       WHERE k.conrelid = 'trip'::regclass
      UNION ALL SELECT format('referred to by %s %s %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
        FROM pg_constraint AS k WHERE k.confrelid = 'trip'::regclass
      UNION ALL SELECT format('toast %s', c.reloptions) FROM pg_class AS c
       WHERE c.oid = (SELECT t.reltoastrelid FROM pg_class AS t WHERE t.oid = 'trip'::regclass)
      UNION ALL SELECT format('statistics %s %s %s', pg_get_statisticsobjdef(s.oid), s.stxstattarget, s.stxowner::regrole) FROM pg_statistic_ext AS s WHERE s.stxrelid = 'trip'::regclass
      UNION ALL SELECT format('comment %s %s', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description) FROM pg_description AS d
       WHERE d.objoid = 'trip'::regclass OR d.objoid IN (SELECT i.indexrelid FROM pg_index AS i WHERE i.indrelid = 'trip'::regclass)
          OR d.objoid IN (SELECT k.oid FROM pg_constraint AS k WHERE k.conrelid = 'trip'::regclass)
          OR d.objoid IN (SELECT s.oid FROM pg_statistic_ext AS s WHERE s.stxrelid = 'trip'::regclass)
          OR d.objoid IN (pg_get_serial_sequence('trip', 'serial')::regclass, pg_get_serial_sequence('trip', 'number')::regclass)
      UNION ALL SELECT format('sequence %s %s %s %s %s', a.attname, pg_get_serial_sequence('trip', a.attname), s.seqincrement, s.seqstart,
                              (SELECT c.relacl FROM pg_class AS c WHERE c.oid = s.seqrelid))
        FROM (SELECT attname FROM pg_attribute WHERE attrelid = 'trip'::regclass AND attnum > 0 AND NOT attisdropped OFFSET 0) AS a
        JOIN pg_sequence AS s ON s.seqrelid = pg_get_serial_sequence('trip', a.attname)::regclass
      UNION ALL SELECT format('trigger %s', pg_get_triggerdef(t.oid)) FROM pg_trigger AS t
       WHERE t.tgrelid = 'trip'::regclass AND NOT t.tgisinternal
      UNION ALL SELECT format('published in %s', p.pubname) FROM pg_publication_tables AS p WHERE p.tablename = 'trip'
    ) AS lines
    """

  private func prepared(_ more: String = "") async throws -> (TestDatabase, Settings, String) {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.trip)
    try await database.script(Self.table + more)
    for note in ["a", "b", "c"] {
      try await database.append(type: "travel", count: 4, data: #"{"Note": "\#(note)"}"#)
    }
    try await database.follow(settings)
    return (database, settings, try await database.value(Self.description))
  }

  @Test func `are the same in every respect after a swap`() async throws {
    let role = "reader_\(UInt32.random(in: 0 ... .max))"
    let owner = "owner_\(UInt32.random(in: 0 ... .max))"
    let (database, settings, before) = try await prepared(
      """
      CREATE ROLE \(role); CREATE ROLE \(owner); GRANT CREATE ON SCHEMA public TO \(owner);
      ALTER TABLE trip OWNER TO \(owner); ALTER STATISTICS "note and mood" OWNER TO \(role);
      GRANT SELECT ON trip TO \(role) WITH GRANT OPTION; GRANT UPDATE (note) ON trip TO \(role); REVOKE DELETE ON trip FROM \(owner);
      GRANT USAGE ON SEQUENCE trip_serial_seq TO \(role);
      ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
      """)
    try await database.script("UPDATE trip SET note = 'wrong'")
    let row = try await database.rebuild(settings, "Trip")
    #expect(row.chosenWay == .swap && row.wayReason == "nothing else depends on the tables", "\(row)")
    let after = try await database.value(Self.description, as: String.self)
    #expect(after == before)
    #expect(before.contains(role) && before.contains("comment") && before.contains("statistics"))
    #expect(try await database.value("SELECT string_agg(note, '' ORDER BY note) FROM trip", as: String.self) == "abc")
    // The sequences are the new table's own, and go on.
    try await database.append(type: "travel", count: 1)
    try await database.follow(settings)
    #expect(
      try await database.value("SELECT count(DISTINCT serial) + count(DISTINCT number) FROM trip", as: Int.self) == 8)
    try await database.script("DROP TABLE trip; DROP OWNED BY \(role), \(owner); DROP ROLE \(role), \(owner)")
  }

  @Test func `keep what hangs on them by a copy, and the reason is told`() async throws {
    let (database, settings, before) = try await prepared(
      """
      CREATE VIEW busy AS SELECT stream, legs FROM trip WHERE legs > 2;
      CREATE TABLE ticket (id int PRIMARY KEY, trip uuid REFERENCES trip ON DELETE CASCADE);
      CREATE TABLE log (what text);
      CREATE FUNCTION logged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (TG_OP); RETURN NULL; END $$;
      CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON trip FOR EACH ROW EXECUTE FUNCTION logged();
      CREATE PUBLICATION changes FOR TABLE trip;
      """)
    try await database.script(
      """
      INSERT INTO ticket SELECT row_number() OVER (), stream FROM trip;
      UPDATE trip SET note = 'wrong' WHERE note = 'a';
      INSERT INTO trip (stream, legs) VALUES (gen_random_uuid(), 7);
      TRUNCATE log;
      """)
    var request = RebuildTable.Request()
    request.allowsFewer = true
    let row = try await database.rebuild(settings, "Trip", request)
    #expect(row.state == .done && row.chosenWay == .copy, "\(row)")
    let reason = row.wayReason ?? ""
    for part in [
      "view public.busy", "constraint ticket_trip_fkey on table public.ticket", "trigger watch", "publication changes",
    ] {
      #expect(reason.contains(part), "\(reason)")
    }
    #expect(try await database.value(Self.description, as: String.self) == before)
    #expect(try await database.value("SELECT string_agg(note, '' ORDER BY note) FROM trip", as: String.self) == "abc")
    #expect(try await database.value("SELECT count(*) FROM ticket", as: Int.self) == 3)
    #expect(try await database.value("SELECT count(*) FROM busy", as: Int.self) == 3)
    // Only what differs is touched: triggers and subscribers see two changes, not the whole table twice.
    #expect(
      try await database.value("SELECT string_agg(what, ' ' ORDER BY what) FROM log", as: String.self)
        == "DELETE UPDATE")
    var swap = RebuildTable.Request()
    swap.way = .swap
    await #expect {
      try await database.rebuild(settings, "Trip", swap)
    } throws: { error in
      (error as? Problem)?.code == .rebuild(.wrongWay)
    }
  }

  @Test(arguments: [RequestedWay.swap, .copy])
  func `are filled again in the order of their references, with or without a key`(way: RequestedWay) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      #"""
      [projections.Pair]
      events = ["travel"]
      tables = ["leg", "line", "loose"]
      sql = '''
      INSERT INTO line AS l (id, legs) SELECT stream_id, count(*) FROM batch GROUP BY 1
      ON CONFLICT (id) DO UPDATE SET legs = l.legs + excluded.legs;
      INSERT INTO leg SELECT seq_id, stream_id FROM batch;
      INSERT INTO loose SELECT data, point(1, 2) FROM batch;
      '''
      """#)
    let reference = way == .copy ? "REFERENCES line" : ""
    try await database.script(
      """
      CREATE TABLE line (id uuid PRIMARY KEY, legs bigint);
      CREATE TABLE leg (seq bigint PRIMARY KEY, line uuid \(reference));
      CREATE TABLE loose (data json, place point);
      """)
    try await database.append(type: "travel", count: 5)
    try await database.append(type: "travel", count: 3)
    try await database.follow(settings)
    try await database.script(
      "DELETE FROM leg WHERE seq < 4; UPDATE line SET legs = 0; DELETE FROM loose; INSERT INTO line VALUES (gen_random_uuid(), 1)"
    )
    var request = RebuildTable.Request()
    request.way = way
    request.compares = true
    request.allowsFewer = true
    let row = try await database.rebuild(settings, "Pair", request)
    #expect(row.state == .done, "\(row)")
    #expect(
      try await database.value(
        "SELECT (SELECT sum(legs) FROM line)::text || (SELECT count(*) FROM leg) || (SELECT count(*) FROM loose) || (SELECT count(*) FROM line)",
        as: String.self) == "8882")
    for part in [#""only_new": 3"#, #""changed": 2"#, #""only_old": 1"#, #""only_new": 8"#] {
      #expect(row.comparison?.contains(part) == true, "\(row.comparison ?? "")")
    }
  }

  /// A column that an index only includes is no part of the key: where it alone differs, the row has changed, and is not another row.
  @Test func `are told apart by their key, without the columns that its index only includes`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      #"""
      [projections.Trip]
      events = ["travel"]
      tables = ["trip"]
      sql = '''
      INSERT INTO trip AS t (id, legs) SELECT stream_id, count(*) FROM batch GROUP BY 1
      ON CONFLICT (id) DO UPDATE SET legs = t.legs + excluded.legs
      '''
      """#)
    try await database.script(
      """
      CREATE TABLE trip (id uuid NOT NULL, legs bigint NOT NULL);
      CREATE UNIQUE INDEX ON trip (id) INCLUDE (legs);
      CREATE TABLE ticket (trip uuid REFERENCES trip (id) ON DELETE CASCADE);
      """)
    for _ in 0..<3 { try await database.append(type: "travel", count: 4) }
    try await database.follow(settings)
    try await database.script(
      "INSERT INTO ticket SELECT id FROM trip; UPDATE trip SET legs = 9 WHERE id = (SELECT id FROM trip LIMIT 1)")
    var request = RebuildTable.Request()
    request.compares = true
    let row = try await database.rebuild(settings, "Trip", request)
    #expect(row.state == .done && row.chosenWay == .copy, "\(row)")
    for part in [#""changed": 1"#, #""only_old": 0"#, #""only_new": 0"#] {
      #expect(row.comparison?.contains(part) == true, "\(row.comparison ?? "")")
    }
    #expect(try await database.value("SELECT count(*) FROM trip WHERE legs = 4", as: Int.self) == 3)
    #expect(try await database.value("SELECT count(*) FROM ticket", as: Int.self) == 3, "no row was taken out")
  }

  @Test func `that cannot be made anew are told with the remedy`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      #"""
      [projections.None]
      sql = "SELECT 1 FROM batch"
      [projections.Missing]
      tables = ["missing"]
      sql = "SELECT 1 FROM batch"
      [projections.View]
      tables = ["looks"]
      sql = "SELECT 1 FROM batch"
      """#)
    try await database.script("CREATE VIEW looks AS SELECT 1 AS one")
    for name in ["None", "Missing", "View"] {
      await #expect {
        try await database.rebuild(settings, name)
      } throws: { error in
        (error as? Problem)?.code == .rebuild(.noTables)
      }
    }
    #expect(try await database.leftovers() == 0)
  }
}
