import Books
import Daemon
import EventStore
import Foundation
import Operator
import Postgres
import ReadModels
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
import Testing

/// Sums, with a trigger and a view-free statement, in one table.
private func sum(_ name: String = "Trip", table: String = "trip", setup: Bool = true) -> String {
  """
  [projections.\(name)]
  tables = ["\(table)"]
  \(setup ? "setup = 'CREATE TABLE \(table) (id uuid PRIMARY KEY, n bigint NOT NULL)'" : "")
  sql = '''
  INSERT INTO \(table) AS t (id, n) SELECT stream_id, sum((data->>'n')::bigint) FROM batch GROUP BY stream_id
  ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n
  '''

  """
}

extension TestDatabase {
  /// Settings for another role, which owns the database if asked.
  fileprivate func settings(_ role: String, _ projections: String, owns: Bool = false) async throws -> Settings {
    if owns { try await script("ALTER DATABASE \(name) OWNER TO \(SQL.quoted(role))") }
    var settings = try settings(projections)
    settings.database.url = conninfo.replacing("user=postgres", with: "user=\(role)")
    return settings
  }

  fileprivate func install(_ settings: Settings) async throws {
    _ = try await Session.connect(ConnectionOptions(settings.database)).closing {
      try await Installer(settings: settings).install($0, streamIDType: "uuid")
    }
  }

  fileprivate func schema(of table: String) async throws -> String? {
    try await value(
      "SELECT string_agg(relnamespace::regnamespace::text, ',' ORDER BY 1) FROM pg_class WHERE relname = \(table)",
      as: String?.self)
  }
}

@Suite(.gated) struct `A name without a schema` {
  /// With the default search path, `"$user", public`.
  @Test func `means what others mean by it, whatever the role and its schema are called`() async throws {
    // Of its own, for the names of the roles.
    let cluster = try await PrivateCluster.start(settings: ["fsync": "off"])
    for role in ["tidemark", "tidemark_internal", "tidemark_page", "batch", "follower"] {
      try await means(role, try await TestDatabase.make(on: cluster))
    }
    await cluster.remove()
  }

  private func means(_ role: String, _ database: TestDatabase) async throws {
    try await database.script(
      "CREATE ROLE \(role) LOGIN; DO $$ BEGIN CREATE ROLE app LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    if !role.hasPrefix("tidemark") {
      try await database.script(
        "CREATE SCHEMA \(role) AUTHORIZATION \(role); SET ROLE \(role); CREATE TABLE \(role).batch (stream_id uuid, data jsonb)"
      )
    }
    try await database.script("CREATE TABLE public.batch (stream_id uuid, data jsonb)")
    let settings = try await database.settings(role, sum() + sum("Node", table: "node"), owns: true)
    try await database.install(settings)
    #expect(try await database.schema(of: "trip") == "public", "\(role)")
    #expect(try await database.schema(of: "node") == "public,tidemark", "\(role)")
    try await database.append(type: "x", count: 3, data: #"{"n": 2}"#)
    try await withDaemon(settings) { try await $0.caughtUp() }
    try await database.script("GRANT SELECT ON ALL TABLES IN SCHEMA public TO app")
    let seen = try await Session.connect(
      ConnectionOptions(conninfo: database.conninfo.replacing("user=postgres", with: "user=app"), pins: .never)
    ).closing {
      try await $0.execute("SELECT (SELECT sum(n) FROM trip) + (SELECT sum(n) FROM node)").rows[0].text(0)
    }
    #expect(seen == "12", "\(role)")
  }

  /// One that the operator made in the role's own schema is found there.
  @Test func `means a table in the role's own schema, where there is one`() async throws {
    let database = try await TestDatabase.make()
    let role = "\(database.name)_own"
    try await database.script("CREATE ROLE \(role) LOGIN; CREATE SCHEMA \(role) AUTHORIZATION \(role)")
    let settings = try await database.settings(role, sum(), owns: true)
    try await database.script(
      "SET ROLE \(role); CREATE TABLE \(role).trip (id uuid PRIMARY KEY, n bigint NOT NULL)")
    try await database.install(settings)
    #expect(try await database.schema(of: "trip") == role)
    try await database.append(type: "x", count: 3, data: #"{"n": 2}"#)
    try await withDaemon(settings) { try await $0.caughtUp() }
    #expect(try await database.value("SELECT sum(n)::bigint FROM \(identifier: role).trip", as: Int.self) == 6)
  }

  /// A schema with the role's name that another role made is on nobody's path.
  @Test func `does not lead into a schema that another role made under the daemon's name`() async throws {
    let database = try await TestDatabase.make()
    let (role, other) = ("\(database.name)_own", "\(database.name)_other")
    try await database.script(
      """
      CREATE ROLE \(role) LOGIN; CREATE ROLE \(other); GRANT CREATE ON DATABASE \(database.name) TO \(other);
      SET ROLE \(other); CREATE SCHEMA \(role);
      CREATE TABLE \(role).trip (id uuid PRIMARY KEY, n bigint NOT NULL);
      GRANT ALL ON SCHEMA \(role) TO PUBLIC; GRANT ALL ON \(role).trip TO PUBLIC
      """)
    let settings = try await database.settings(role, sum(), owns: true)
    try await database.install(settings)
    try await database.append(type: "x", count: 3, data: #"{"n": 2}"#)
    try await withDaemon(settings) { try await $0.caughtUp() }
    #expect(try await database.value("SELECT count(*) FROM \(identifier: role).trip", as: Int.self) == 0)
    #expect(try await database.value("SELECT sum(n)::bigint FROM public.trip", as: Int.self) == 6)
  }

  /// `psql` of another role, with a schema of its own, makes what `init` would make.
  @Test func `in a printed plan means the same for every role that runs it`() async throws {
    let database = try await TestDatabase.make()
    let (role, dba) = ("\(database.name)_role", "\(database.name)_dba")
    try await database.script(
      "CREATE ROLE \(role) LOGIN; CREATE ROLE \(dba) LOGIN SUPERUSER; CREATE SCHEMA \(dba) AUTHORIZATION \(dba)")
    let settings = try await database.settings(role, sum())
    let script = try await Session.connect(ConnectionOptions(settings.database)).closing {
      try await Installer(settings: settings).plan($0, streamIDType: "uuid").script
    }
    _ = try await Session.connect(
      ConnectionOptions(conninfo: database.conninfo.replacing("user=postgres", with: "user=\(dba)"), pins: .never)
    ).closing { try await $0.script(script) }
    #expect(try await database.schema(of: "trip") == "public")
  }

  /// A page makes nothing in the schema that it searches first, even where the daemon owns that; with its schema it does.
  @Test func `is refused for what a page creates, and a name with a schema is not`() async throws {
    let database = try await TestDatabase.make()
    let role = "\(database.name)_own"
    try await database.script(
      """
      CREATE ROLE \(role) LOGIN;
      CREATE FUNCTION public.keep(name text) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE format('CREATE TABLE IF NOT EXISTS %s (n bigint)', name); END $$
      """)
    let toml = { (name: String) in
      """
      [projections.Made]
      sql = "SELECT keep('\(name)') FROM batch"

      """
    }
    let settings = try await database.settings(role, toml("made"), owns: true)
    try await database.install(settings)
    try await database.append(type: "x", count: 1)
    try await withDaemon(settings) { daemon in
      let failure = try await daemon.observed.first("it stops") { $0.when(.shardStopped)?.failure }
      #expect(
        failure.message == "permission denied for schema tidemark_page"
          && failure.hint?.contains("needs its schema in the name") == true, "\(failure)")
    }
    #expect(try await database.schema(of: "made") == nil)
    // The advice, followed; and init makes the view again where it is missing, as the owner who may not create there otherwise.
    try await database.script("DROP SCHEMA tidemark_page CASCADE")
    let told = try await database.settings(role, toml("public.made"))
    try await database.install(told)
    try await withDaemon(told) { try await $0.caughtUp() }
    #expect(try await database.schema(of: "made") == "public")
  }

  /// Deferred triggers run at COMMIT, and find the operator's tables there.
  @Test func `is found by triggers of the read model, in pages, rebuilds and replays`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(sum())
    try await database.script(
      """
      CREATE TABLE told (at text, n bigint);
      CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO told SELECT tg_when, n FROM trip WHERE id = coalesce(new.id, old.id) LIMIT 1; RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE OR DELETE ON trip DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION tell();
      CREATE TRIGGER soon AFTER INSERT OR UPDATE OR DELETE ON trip FOR EACH ROW EXECUTE FUNCTION tell()
      """)
    try await database.append(type: "x", count: 3, data: #"{"n": 2}"#)
    try await database.append(type: "x", count: 1, data: #"{"n": "bad"}"#)
    try await database.append(type: "x", count: 3, data: #"{"n": 2}"#)
    try await withDaemon(settings) { try await $0.caughtUp() }
    #expect(try await database.value("SELECT count(*) > 3 FROM told", as: Bool.self))
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 1)
    try await database.script(
      "UPDATE trip SET n = 7; UPDATE mt_events SET data = '{\"n\": 1}' WHERE data->>'n' = 'bad'")
    let before = try await database.value("SELECT count(*) FROM told", as: Int.self)
    try await database.rebuild(settings, "Trip")
    #expect(try await database.value("SELECT sum(n)::bigint FROM trip", as: Int.self) == 13)
    #expect(try await database.value("SELECT count(*) FROM told", as: Int.self) > before)
    try await database.script("UPDATE trip SET n = 7")
    var request = RebuildTable.Request()
    request.way = .inPlace
    try await database.rebuild(settings, "Trip", request)
    #expect(try await database.value("SELECT sum(n)::bigint FROM trip", as: Int.self) == 13)
  }
}

/// Functions and operators of a role that may create in `public`, whose arguments fit statements of ours better than the system's do.
private enum Shadows {
  static func make(_ database: TestDatabase, by role: String) async throws {
    try await database.script(
      """
      CREATE ROLE \(role); GRANT CREATE ON SCHEMA public TO \(role);
      CREATE SCHEMA spoils; CREATE TABLE spoils.loot (who text, fn text);
      GRANT USAGE ON SCHEMA spoils TO PUBLIC; GRANT INSERT ON spoils.loot TO PUBLIC;
      SET ROLE \(role)
      """ + made.map { ";\n" + $0 }.joined())
  }

  private static func function(_ name: String, _ arguments: String, _ result: String, _ body: String) -> String {
    """
    CREATE FUNCTION public.\(name)(\(arguments)) RETURNS \(result) LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO spoils.loot VALUES (current_user, '\(name)(\(arguments))'); \(body); END $$
    """
  }

  private static let made: [String] =
    [
      ("concat_ws", "text,text,text", "text", "RETURN pg_catalog.concat_ws($1,$2,$3)"),
      ("unnest", "text[]", "SETOF text", "RETURN QUERY SELECT pg_catalog.unnest($1)"),
      ("unnest", "bigint[]", "SETOF bigint", "RETURN QUERY SELECT pg_catalog.unnest($1)"),
      ("format", "text,name,text", "text", "RETURN pg_catalog.format($1,$2,$3)"),
      ("format", "text,name,name", "text", "RETURN pg_catalog.format($1,$2,$3)"),
      ("format", "text,text,text", "text", "RETURN pg_catalog.format($1,$2,$3)"),
      ("format", "text,regclass,regclass", "text", "RETURN pg_catalog.format($1,$2,$3)"),
      ("format_type", "oid,text", "text", "RETURN pg_catalog.format_type($1,$2::int)"),
      ("hashtextextended", "text,integer", "bigint", "RETURN pg_catalog.hashtextextended($1,$2::bigint)"),
      ("array_agg", "text", "text", "RETURN $1"),
      ("to_char", "timestamptz,unknown", "text", "RETURN ''"),
      ("quote_ident", "name", "text", "RETURN pg_catalog.quote_ident($1::text)"),
      ("cardinality", "text[]", "integer", "RETURN pg_catalog.cardinality($1)"),
      ("to_jsonb", "record", "jsonb", "RETURN pg_catalog.to_jsonb($1)"),
      ("starts_with", "varchar,text", "boolean", "RETURN true"),
    ].compactMap { name, arguments, result, body in
      arguments.contains("unknown") || name == "array_agg" ? nil : function(name, arguments, result, body)
    } + [
      function("same", "a varchar, b text", "boolean", "RETURN $1::text OPERATOR(pg_catalog.=) $2"),
      "CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = text, FUNCTION = public.same, RESTRICT = eqsel, JOIN = eqjoinsel)",
      function("same", "a name, b varchar", "boolean", "RETURN $1::text OPERATOR(pg_catalog.=) $2::text"),
      "CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = varchar, FUNCTION = public.same)",
      function("more", "a bigint, b integer", "boolean", "RETURN $1 OPERATOR(pg_catalog.>) $2"),
      function("joined", "a text, b integer", "text", "RETURN $1 OPERATOR(pg_catalog.||) $2::text"),
      "CREATE OPERATOR public.|| (LEFTARG = text, RIGHTARG = integer, FUNCTION = public.joined)",
      "CREATE DOMAIN public.oid AS bigint", "CREATE DOMAIN public.regclass AS text",
    ]

  /// Who ran one of them, and which.
  static func loot(_ database: TestDatabase) async throws -> String {
    try await database.value("SELECT coalesce(string_agg(DISTINCT who || ' ' || fn, '; '), '') FROM spoils.loot")
  }
}

@Suite(.gated) struct `What another role may create` {
  @Test func `is run by no statement of ours, in init, verbs, pages and rebuilds`() async throws {
    let database = try await TestDatabase.make()
    try await Shadows.make(database, by: "\(database.name)_mallory")
    let toml =
      sum() + """
        [projections.Each]
        tables = ["each"]
        on_poison = "park-stream"
        setup = 'CREATE TABLE each (seq bigint PRIMARY KEY, n int)'
        [projections.Each.on]
        x = "INSERT INTO each SELECT :seq_id, (:data->>'n')::int"
        [rebuild_errors]
        skip_serialization_errors = true

        """
    let config = try Program.settings(database.conninfo, toml)
    for verb in [["init", "--dry-run"], ["init"], ["init"]] {
      let outcome = try await Program.run(verb + ["-c", config])
      #expect(outcome.code == 0, "\(verb): \(outcome)")
      #expect(try await Shadows.loot(database) == "", "\(verb)")
    }
    try await database.append(type: "x", count: 5, data: #"{"n": 2}"#)
    try await database.append(type: "x", count: 1, data: #"{"n": "bad"}"#)
    try await database.append(type: "x", count: 5, data: #"{"n": 2}"#)
    let settings = try database.settings(toml)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let open = try await daemon.observed.first("the open schema is named") { $0.when(.pathOpen)?.failure }
      #expect(open.message.contains("_mallory may create in schema public"), "\(open)")
      for verb in [
        ["status"], ["status", "--json"], ["list"], ["check"], ["dead-letters", "list"],
        ["dead-letters", "replay", "--all", "--yes"], ["wait", "--timeout", "20s"], ["pause", "Trip", "--for", "1s"],
        ["resume", "Trip"], ["rebuild", "Trip", "--yes"], ["rebuild", "Trip", "--yes", "--by", "copy"],
        ["rebuild", "Each", "--yes", "--diff", "--dry-run"], ["forget", "Old:All", "--yes"],
      ] {
        let outcome = try await Program.run(verb + ["-c", config])
        #expect(outcome.code == 0 || verb[0] == "forget" || verb.contains("replay"), "\(verb): \(outcome)")
        #expect(try await Shadows.loot(database) == "", "\(verb)")
        if verb[0] == "check" {
          #expect(
            outcome.output.contains("may create in schema public")
              && outcome.output.contains("REVOKE CREATE ON SCHEMA public"),
            "\(outcome)")
        }
      }
      try await daemon.caughtUp()
    }
    #expect(try await Shadows.loot(database) == "")
    #expect(try await database.value("SELECT sum(n)::bigint FROM trip", as: Int.self) == 20)
    #expect(try await database.value("SELECT sum(n)::bigint FROM each", as: Int.self) == 20)
  }

  /// A view with the name of ours puts no rows into a read model and hides no event, before a start or after it, in pages of any width.
  @Test func `is not the batch of a projection, however it is called`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(sum())
    let mallory = "\(database.name)_mallory"
    try await database.script("CREATE ROLE \(mallory); GRANT CREATE ON SCHEMA public TO \(mallory)")
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 5, data: #"{"n": 1}"#)
      try await daemon.caughtUp()
      try await database.script(
        """
        SET ROLE \(mallory);
        CREATE VIEW public.batch AS SELECT 'ffffffff-0000-4000-8000-000000000001'::uuid AS stream_id, '{"n": 1000000}'::jsonb AS data;
        GRANT SELECT ON public.batch TO PUBLIC
        """)
      for count in [1, 20, 300] {
        try await database.append(type: "x", count: count, data: #"{"n": 1}"#)
        try await daemon.caughtUp()
      }
    }
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 4, data: #"{"n": 1}"#)
      try await daemon.caughtUp()
    }
    try await database.rebuild(settings, "Trip")
    #expect(try await database.value("SELECT sum(n)::bigint FROM trip", as: Int.self) == 330)
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
  }

  /// Whatever drops the view that gives `batch` its name: no page takes another relation for it, and it is made again.
  @Test func `is not taken for batch while the view is missing`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(sum())
    try await database.script(
      "CREATE VIEW public.batch AS SELECT gen_random_uuid() AS stream_id, '{\"n\": 1000000}'::jsonb AS data")
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 5, data: #"{"n": 1}"#)
      try await daemon.caughtUp()
      for what in [
        "VIEW tidemark_page.batch", "SCHEMA tidemark_page CASCADE", "FUNCTION tidemark_page.tidemark_batch CASCADE",
      ] {
        try await database.script("DROP \(what)")
        try await database.append(type: "x", count: 5, data: #"{"n": 1}"#)
        try await daemon.caughtUp()
      }
    }
    #expect(try await database.value("SELECT sum(n)::bigint FROM trip", as: Int.self) == 20)
  }
}
