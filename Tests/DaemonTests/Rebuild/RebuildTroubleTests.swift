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

@Suite(.gated) struct `A rebuild that meets trouble` {
  private static let sums = #"""
    [projections.Sum]
    events = ["travel"]
    tables = ["sums"]
    setup = "CREATE TABLE sums (id uuid PRIMARY KEY, total numeric NOT NULL CHECK (total >= 0))"
    sql = '''
    INSERT INTO sums AS s (id, total) SELECT stream_id, sum((data->>'N')::numeric) FROM batch GROUP BY 1
    ON CONFLICT (id) DO UPDATE SET total = s.total + excluded.total
    '''
    """#

  private func summary(_ database: TestDatabase) async throws -> String {
    try await database.value("SELECT count(*) || ' ' || coalesce(sum(total), 0) FROM sums")
  }

  private func letters(_ database: TestDatabase) async throws -> String {
    try await database.value(
      "SELECT coalesce(string_agg(shard || ' ' || seq_id || ' ' || class, ', ' ORDER BY shard, seq_id), '') FROM tidemark.dead_letter"
    )
  }

  @Test func `of the server's waits until the server has again what it lacks`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.sums)
    try await database.append(type: "travel", count: 3, data: #"{"N": 1}"#)
    try await database.follow(settings)
    try await database.script(
      """
      CREATE TABLE lacking (n int); INSERT INTO lacking VALUES (1);
      CREATE FUNCTION lacks() RETURNS event_trigger LANGUAGE plpgsql AS
      $$ BEGIN IF EXISTS (SELECT FROM public.lacking) THEN RAISE 'out of memory' USING ERRCODE = '53200'; END IF; END $$;
      CREATE EVENT TRIGGER lacks ON ddl_command_start WHEN TAG IN ('CREATE SCHEMA', 'CREATE TABLE') EXECUTE FUNCTION lacks();
      """)
    let observed = ObservationRecorder()
    async let row = database.rebuild(settings, "Sum", observer: observed)
    let failure = try await observed.first("it tries again") { $0.when(.rebuildRetrying)?.failure }
    #expect(failure.code?.text == "53200")
    try await eventually("who watches it sees why") {
      try await database.value("SELECT (SELECT error FROM tidemark.rebuild) LIKE 'out of memory%'", as: Bool?.self)
        ?? false
    }
    try await database.script("DELETE FROM lacking")
    let done = try await row
    #expect(done.state == .done && done.error == nil)
    #expect(try await summary(database) == "1 3")
  }

  @Test func `stops at a poison event and leaves the old rows, and passes it over where it may`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.sums)
    try await database.append(type: "travel", count: 3, data: #"{"N": 1}"#)
    try await database.append(type: "travel", count: 1, data: #"{"N": "one"}"#)
    try await database.append(type: "travel", count: 2, data: #"{"N": 1}"#)
    try await database.follow(settings)
    #expect(try await letters(database) == "Sum:All 4 event")
    #expect(try await summary(database) == "2 5")
    try await database.script("UPDATE sums SET total = 9")
    await #expect {
      try await database.rebuild(settings, "Sum")
    } throws: { error in
      let problem = error as? Problem
      return problem?.code == .rebuild(.pageFailed) && problem!.message.contains("22P02")
        && problem!.hint?.contains("rebuild_errors.skip_serialization_errors = true") == true
    }
    #expect(try await summary(database) == "2 18")
    #expect(try await letters(database) == "Sum:All 4 event")
    let row = try await database.rebuilt("Sum:All")
    #expect(row.state == .failed && row.schema != nil && row.error?.contains("test.toml") == true, "\(row)")
    // The settings may say otherwise; what was half done goes on, and the letters are those of the new rows.
    let lenient = try database.settings("[rebuild_errors]\nskip_serialization_errors = true\n" + Self.sums)
    #expect(try await database.rebuild(lenient, "Sum").state == .done)
    #expect(try await summary(database) == "2 5")
    #expect(try await letters(database) == "Sum:All 4 event")
    // Mended, it is applied, and the letter goes.
    try await database.script(#"UPDATE mt_events SET data = '{"N": 7}' WHERE seq_id = 4"#)
    #expect(try await database.rebuild(settings, "Sum").state == .done)
    #expect(try await summary(database) == "3 12")
    #expect(try await letters(database) == "")
  }

  /// An event that came up in a gap the mark had stepped over is applied by the rebuild, or keeps its letter; never both, never neither.
  @Test func `accounts for late arrivals before and after it has passed them`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.sums)
    try await database.append(type: "travel", count: 4, data: #"{"N": 1}"#)
    try await database.follow(settings)
    let gap = "INSERT INTO tidemark.gap (first_seq_id, last_seq_id, reason, arrived) VALUES (2, 3, 'test', '{2}')"
    // 2 has arrived late, and its letter waits; 3 has not been accounted for yet.
    try await database.script(
      """
      \(gap);
      INSERT INTO tidemark.dead_letter (shard, seq_id, class, message) VALUES ('Sum:All', 2, 'late_arrival', 'late');
      """)
    var look = RebuildTable.Request()
    look.compares = true
    look.exchanges = false
    #expect(try await database.rebuild(settings, "Sum", look).state == .compared)
    // Now 3 arrives: the new tables have stepped over it.
    try await database.script(
      """
      UPDATE tidemark.gap SET arrived = '{2, 3}';
      """)
    #expect(try await database.rebuild(settings, "Sum").state == .done)
    #expect(try await summary(database) == "1 3")
    #expect(try await letters(database) == "Sum:All 3 late_arrival")
  }

  private func strays(_ database: TestDatabase, _ sql: String, tables: String = "\"sums\"") async throws -> (
    check: Program.Outcome, rebuild: Program.Outcome
  ) {
    let toml = """
      [projections.Sum]
      events = ["travel"]
      tables = [\(tables)]
      sql = '''
      \(sql)
      '''
      """
    let config = try Program.settings(database.conninfo, toml)
    let check = try await Program.run(["check", "-c", config])
    let rebuild = try await Program.run(["rebuild", "Sum", "--here", "--restart", "-c", config])
    return (check, rebuild)
  }

  @Test func `finds out which statements the search path cannot lead, and says the remedy`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.sums)
    try await database.script(
      """
      CREATE TABLE log (n bigint);
      CREATE FUNCTION named() RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.sums VALUES (gen_random_uuid(), 1); END $$;
      CREATE FUNCTION led() RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO sums VALUES (gen_random_uuid(), 1); END $$;
      CREATE FUNCTION fixed() RETURNS void LANGUAGE plpgsql SET search_path = public AS $$ BEGIN INSERT INTO sums VALUES (gen_random_uuid(), 1); END $$;
      CREATE FUNCTION parsed() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM sums; END;
      CREATE FUNCTION outer_one() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT parsed(); END;
      CREATE FUNCTION hidden() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'INSERT INTO ' || 'public' || '.sums VALUES (gen_random_uuid(), 1)'; END $$;
      """)
    try await database.append(type: "travel", count: 2, data: #"{"N": 1}"#)
    try await database.follow(settings)
    for (sql, words) in [
      ("INSERT INTO public.sums SELECT stream_id, 1 FROM batch ON CONFLICT DO NOTHING", "it writes public.sums"),
      (
        "INSERT INTO sums SELECT b.stream_id, 1 FROM batch AS b LEFT JOIN public.sums AS s ON s.id = b.stream_id",
        "it reads public.sums"
      ),
      ("INSERT INTO log SELECT count(*) FROM batch", "it writes public.log"),
      ("SELECT named() FROM batch", "function public.named() uses public.sums"),
      ("SELECT fixed() FROM batch", "function public.fixed() uses public.sums"),
      ("SELECT outer_one() FROM batch", "function public.parsed() uses public.sums"),
    ] {
      let (check, rebuild) = try await strays(database, sql)
      #expect(check.code == 1 && check.error.contains(words), "\(check)")
      #expect(check.error.contains("--in-place") && check.error.contains(":\(7 + 2)"), "\(check.error)")
      #expect(rebuild.code == 1 && rebuild.error.contains(words) && rebuild.error.contains("TM322"), "\(rebuild)")
    }
    let (_, led) = try await strays(database, "SELECT led() FROM batch")
    #expect(led.code == 0, "\(led)")
    // Only running it shows where this one goes; the page is rolled back, and nothing of it reaches the old table.
    let before = try await summary(database)
    let (check, rebuild) = try await strays(database, "SELECT hidden() FROM batch")
    #expect(check.code == 0, "\(check)")
    #expect(
      rebuild.code == 1 && rebuild.error.contains("writes public.sums, which a rebuild must leave alone"), "\(rebuild)")
    #expect(try await summary(database) == before)
  }

  @Test func `refuses tables that changed meanwhile, and begins anew when told to`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.sums)
    try await database.append(type: "travel", count: 2, data: #"{"N": 1}"#)
    try await database.follow(settings)
    var look = RebuildTable.Request()
    look.compares = true
    look.exchanges = false
    #expect(try await database.rebuild(settings, "Sum", look).state == .compared)
    try await database.script("ALTER TABLE sums ADD COLUMN note text")
    await #expect {
      try await database.rebuild(settings, "Sum")
    } throws: { error in
      (error as? Problem)?.code == .rebuild(.tablesChanged)
    }
    #expect(try await database.rebuild(settings, "Sum", restart: true).state == .done)
    #expect(try await database.value("SELECT count(note) FROM sums", as: Int.self) == 0)
  }

  @Test func `says which privilege is missing`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Self.sums)
    try await database.append(type: "travel", count: 2, data: #"{"N": 1}"#)
    try await database.follow(settings)
    let role = "poor_\(UInt32.random(in: 0 ... .max))"
    try await database.script(
      """
      CREATE ROLE \(role) LOGIN; GRANT USAGE ON SCHEMA tidemark TO \(role);
      GRANT ALL ON ALL TABLES IN SCHEMA public, tidemark TO \(role); GRANT SELECT ON mt_events_sequence TO \(role);
      REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA tidemark_internal FROM PUBLIC
      """)
    let config = try Program.settings("\(database.conninfo) user=\(role)", Self.sums)
    let lost = try await Program.run(["rebuild", "Sum", "--here", "-c", config])
    #expect(lost.code == 1 && lost.error.contains("PRIVILEGES in tidemark(7)"), "\(lost)")
    try await database.script(
      """
      GRANT USAGE ON SCHEMA tidemark_internal TO \(role);
      GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tidemark, tidemark_internal TO \(role)
      """)
    let refused = try await Program.run(["rebuild", "Sum", "--here", "-c", config])
    #expect(refused.code == 1 && refused.error.contains("GRANT CREATE ON DATABASE"), "\(refused)")
    try await database.script("GRANT CREATE ON DATABASE \(database.name) TO \(role)")
    let copied = try await Program.run(["rebuild", "Sum", "--here", "-c", config])
    #expect(copied.code == 0 && copied.output.contains("by copy (its owner"), "\(copied)")
    try await database.script("DROP OWNED BY \(role); DROP ROLE \(role)")
  }

  @Test func `of a version that runs beside the old one leaves the old one alone, until it is forgotten`() async throws
  {
    let database = try await TestDatabase.make()
    let blue = try await database.install(Self.sums)
    try await database.append(type: "travel", count: 3, data: #"{"N": 1}"#)
    try await database.follow(blue)
    let second = Self.sums.replacing("[projections.Sum]", with: "[projections.Sum]\nversion = 2").replacing(
      "sums", with: "sums_2")
    let green = try await database.install(second)
    try await database.append(type: "travel", count: 2, data: #"{"N": 1}"#)
    try await database.follow(green)
    #expect(try await database.position("Sum:All") == 3)
    #expect(try await database.position("Sum:V2:All") == 5)
    #expect(try await database.rebuild(green, "Sum").state == .done)
    let config = try Program.settings(database.conninfo, second)
    let listed = try await Program.run(["list", "-c", config])
    #expect(
      listed.output.contains("Sum:V2:All         5") && listed.output.contains("Sum:All            3"), "\(listed)")
    #expect(listed.output.contains("only in the database"))
    let json = try await Program.run(["list", "--json", "-c", config])
    #expect(json.output.contains(#""declared" : false"#) && json.output.contains(#""version" : 2"#), "\(json)")
    let offline = try await Program.run(["list", "--offline", "-c", config])
    #expect(!offline.output.contains("Sum:All"))
    let refused = try await Program.run(["forget", "Sum:V2:All", "-c", config])
    #expect(refused.code == 2 && refused.error.contains("is declared in the settings"), "\(refused)")
    let forgotten = try await Program.run(["forget", "Sum:All", "-c", config])
    #expect(
      forgotten.code == 0 && forgotten.output == "Sum:All forgotten; what it filled stays: public.sums\n",
      "\(forgotten)")
    #expect(try await database.position("Sum:All") == nil)
    #expect(try await Program.run(["forget", "Sum:All", "-c", config]).code == 1)
    #expect(try await summary(database) == "1 3")
  }
}
