import Foundation
import Postgres
import Sandbox
import Settings
import TestSupport
import Testing

/// A hint is a guess until it was followed. Each trial makes the situation in which a verb prints one, runs the verb, does what the hint
/// says, and runs it again.
@Suite(.gated) struct `A hint, followed where it is printed` {
  struct Trial: CustomTestStringConvertible {
    enum Remedy {
      case sql(String)
      /// Other words on the command line.
      case words([String])
      /// A change of the settings: what stands there, and what should.
      case settings(String, String)
    }

    var testDescription: String
    /// Runs before the verb.
    var situation = ""
    var projection = Trial.legs
    var verb: [String]
    var hint: String
    var remedy: Remedy

    static let legs = """
      [projections.Legs]
      events = ["n"]
      tables = ["legs"]
      key = "id"
      setup = "CREATE TABLE legs (id uuid PRIMARY KEY, n bigint NOT NULL, code text UNIQUE)"
      sql = '''
      INSERT INTO legs AS l (id, n, code) SELECT stream_id, count(*), stream_id::text FROM batch GROUP BY stream_id
      ON CONFLICT (id) DO UPDATE SET n = l.n + excluded.n
      '''

      """

    init(
      _ name: String, _ situation: String = "", projection: String = Trial.legs, verb: [String], hint: String,
      _ remedy: Remedy
    ) {
      testDescription = name
      self.situation = situation
      self.projection = projection
      self.verb = verb
      self.hint = hint
      self.remedy = remedy
    }
  }

  private static let rebuild = ["rebuild", "Legs", "--here", "--yes"]
  private static let stream = ["--stream", "00000000-0000-4000-8000-000000000001"]

  static let trials = [
    Trial(
      "a swap with a view on the table", "CREATE VIEW seen AS SELECT * FROM legs", verb: rebuild + ["--by", "swap"],
      hint: "Omit --by, or use --by copy", .words(rebuild + ["--by", "copy"])),
    Trial(
      "a swap with a view on the table, the way left out", "CREATE VIEW seen AS SELECT * FROM legs",
      verb: rebuild + ["--by", "swap"], hint: "Omit --by, or use --by copy", .words(rebuild)),
    Trial(
      "a swap of some rows", verb: rebuild + stream + ["--by", "swap"], hint: "Omit --by, or use --by copy",
      .words(rebuild + stream)),
    Trial(
      "an end that the shard has not reached", verb: rebuild + ["--to", "100000"],
      hint: "Use a lower sequence, or omit --to",
      .words(rebuild + ["--to", "20"])),
    Trial(
      "an end before the beginning", projection: Trial.legs.replacing("key =", with: "start = 10\nkey ="),
      verb: rebuild + ["--to", "5"], hint: "Use a sequence from 10 on, or omit --to", .words(rebuild + ["--to", "20"])),
    Trial(
      "several workers without a key", projection: Trial.legs.replacing("key = \"id\"\n", with: ""),
      verb: rebuild + ["--workers", "2"], hint: "parallel = \"by-stream\"",
      .settings("tables = [\"legs\"]", "tables = [\"legs\"]\nparallel = \"by-stream\"")),
    Trial(
      "one stream without a key", projection: Trial.legs.replacing("key = \"id\"\n", with: ""), verb: rebuild + stream,
      hint: "Declare key = \"…\"", .settings("tables = [\"legs\"]", "tables = [\"legs\"]\nkey = \"id\"")),
    Trial(
      "a key in another case", projection: Trial.legs.replacing("key = \"id\"", with: "key = \"ID\""),
      verb: rebuild + stream,
      hint: "key = \"id\"", .settings("key = \"ID\"", "key = \"id\"")),
    Trial(
      "in place, with rows of others that would go",
      "CREATE TABLE notes (leg uuid CONSTRAINT notes_leg REFERENCES legs ON DELETE CASCADE)",
      verb: rebuild + ["--in-place"],
      hint: "drop that foreign key", .sql("ALTER TABLE notes DROP CONSTRAINT notes_leg")),
    Trial(
      "in place, with a trigger that keeps rows",
      """
      CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
      CREATE TRIGGER keep BEFORE DELETE ON legs FOR EACH ROW EXECUTE FUNCTION keep()
      """, verb: rebuild + ["--in-place"], hint: "disable that rule or trigger",
      .sql("ALTER TABLE legs DISABLE TRIGGER keep")),
    Trial(
      "in place, with a table that is not declared", "CREATE TABLE log (n bigint)",
      projection: Trial.legs.replacing(
        "sql = '''\n", with: "sql = '''\nWITH said AS (INSERT INTO log SELECT count(*) FROM batch)\n"),
      verb: rebuild + ["--in-place"], hint: "Name it in projections.Legs.tables",
      .settings("tables = [\"legs\"]", "tables = [\"legs\", \"log\"]")),
    Trial(
      "a copy over two keys that others reference",
      """
      CREATE TABLE a (leg uuid REFERENCES legs (id) DEFERRABLE);
      CREATE TABLE b (code text CONSTRAINT b_code REFERENCES legs (code) DEFERRABLE)
      """, verb: rebuild, hint: "Drop the foreign keys to all but one of these keys",
      .sql("ALTER TABLE b DROP CONSTRAINT b_code")),
    Trial(
      "no node and no --here", verb: ["rebuild", "Legs", "--yes"], hint: "or use --here to do the work in this process",
      .words(rebuild)),
    Trial(
      "an event table without a key on its numbers",
      "ALTER TABLE mt_events DROP CONSTRAINT \"pkey_mt_events_seq_id\" CASCADE", verb: ["check"],
      hint: "ALTER TABLE public.mt_events ADD PRIMARY KEY (seq_id)",
      .sql("ALTER TABLE public.mt_events ADD PRIMARY KEY (seq_id)")),
    Trial(
      "a sequence that steps by two", "ALTER SEQUENCE mt_events_sequence INCREMENT BY 2", verb: ["check"],
      hint: "ALTER SEQUENCE public.mt_events_sequence INCREMENT BY 1",
      .sql("ALTER SEQUENCE public.mt_events_sequence INCREMENT BY 1")),
    Trial(
      "a sequence that counts downwards", "ALTER SEQUENCE mt_events_sequence INCREMENT BY -1", verb: ["check"],
      hint: "ALTER SEQUENCE public.mt_events_sequence INCREMENT BY 1; SELECT setval('public.mt_events_sequence', 50)",
      .sql(
        "ALTER SEQUENCE public.mt_events_sequence INCREMENT BY 1; SELECT setval('public.mt_events_sequence', 50)")),
    Trial(
      "a sequence with another name", "ALTER SEQUENCE mt_events_sequence RENAME TO events_seq", verb: ["check"],
      hint: "ALTER SEQUENCE public.events_seq RENAME TO mt_events_sequence;",
      .sql("ALTER SEQUENCE public.events_seq RENAME TO mt_events_sequence")),
  ]

  @Test(arguments: trials) func `helps`(trial: Trial) async throws {
    let database = try await TestDatabase.make()
    // What the projection writes besides exists before it runs, the rest of the situation comes after.
    if trial.situation.hasPrefix("CREATE TABLE log") { try await database.script(trial.situation) }
    let settings = try await database.install(trial.projection)
    _ = try await database.connected { session in
      try await session.execute(
        """
        SELECT tidemark.append('00000000-0000-4000-8000-000000000001', jsonb_agg(jsonb_build_object('type', 'n', 'data', '{}'::jsonb)))
          FROM generate_series(1, 30)
        """)
    }
    try await database.append(type: "n", count: 20)
    try await database.follow(settings)
    if !trial.situation.hasPrefix("CREATE TABLE log") { try await database.script(trial.situation) }
    let config = try Program.settings(database.conninfo, trial.projection)
    let refused = try await Program.run(trial.verb + ["-c", config])
    #expect(refused.code != 0)
    let hint = refused.error.split(separator: "\n").first { $0.contains("hint: ") }
    #expect(hint?.contains(trial.hint) == true, "\(refused)")
    var (verb, mended) = (trial.verb, config)
    switch trial.remedy {
    case .sql(let statement): try await database.script(statement)
    case .words(let words): verb = words
    case .settings(let before, let after):
      try #require(trial.projection.contains(before))
      mended = try Program.settings(database.conninfo, trial.projection.replacing(before, with: after))
    }
    let outcome = try await Program.run(verb + ["-c", mended])
    #expect(outcome.code == 0, "\(outcome)")
    // An end before the last event leaves the later ones to the live shard.
    if !verb.contains("--to") {
      let start = trial.projection.contains("start = 10") ? 10 : 0
      #expect(try await database.value("SELECT sum(n)::bigint FROM legs", as: Int.self) == 50 - start)
    }
  }

  /// The holder of the lock is no node, so only its pid helps.
  @Test func `names a session that keeps nodes away, and the statement that ends it`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(Trial.legs)
    let config = try Program.settings(database.conninfo, Trial.legs)
    let first = try await DaemonProcess.start(config)
    try await eventually("the first holds the lock") {
      try await database.value("SELECT count(*) FROM tidemark.node", as: Int.self) == 1
    }
    let second = try await Program.run(["run", "-c", config])
    #expect(second.code != 0 && second.error.contains("Stop it, or set mode = \"hotcold\" on all nodes"), "\(second)")
    #expect(try await first.stop().code == 0)
    let third = try await DaemonProcess.start(config)
    try await eventually("the next one runs") {
      try await database.value("SELECT count(*) FROM tidemark.node", as: Int.self) == 1
    }
    #expect(try await third.stop().code == 0)
  }

  @Test func `helps where a table is gone under its position`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Trial.legs)
    try await database.append(type: "n", count: 20)
    try await database.follow(settings)
    try await database.script("DROP TABLE legs")
    let config = try Program.settings(database.conninfo, Trial.legs)
    let check = try await Program.run(["check", "-c", config])
    #expect(check.code == 1 && check.error.contains("the table legs does not exist, and Legs:All is at 20"), "\(check)")
    #expect(check.error.contains("Run `tidemark init`") && check.error.contains("`tidemark rebuild Legs`"))
    for verb in [["init"], Self.rebuild, ["check"]] {
      let outcome = try await Program.run(verb + ["-c", config])
      #expect(outcome.code == 0, "\(verb): \(outcome)")
    }
    #expect(try await database.value("SELECT sum(n)::bigint FROM legs", as: Int.self) == 20)
  }

  /// Numbers that no page reads, and one after which no number is left.
  @Test(arguments: [-5, Int64.max]) func `helps where an event has a number of its own`(number: Int64) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Trial.legs)
    try await database.append(type: "n", count: 20)
    try await database.script(
      "INSERT INTO mt_events (seq_id, id, stream_id, version, data, type) SELECT \(number), gen_random_uuid(), stream_id, 99, '{}', 'n' FROM mt_events LIMIT 1"
    )
    let config = try Program.settings(database.conninfo, Trial.legs)
    let check = try await Program.run(["check", "-c", config])
    let hint = try #require(check.output.split(separator: "\n").first { $0.contains("UPDATE ") }, "\(check)")
    try await database.script(String(hint[hint.range(of: "UPDATE ")!.lowerBound...]))
    try await database.append(type: "n", count: 1)
    try await database.follow(settings)
    #expect(try await database.value("SELECT sum(n)::bigint FROM legs", as: Int.self) == 22)
  }
}
