import Books
import Daemon
import EventStore
import Foundation
import Operator
import Postgres
import Rules
import Sandbox
import Settings
import Synchronization
import Telemetry
import TestSupport
import Testing

private let seen = """
  [projections.All]
  tables = ["seen"]
  setup = "CREATE TABLE seen (seq bigint PRIMARY KEY)"
  sql = "INSERT INTO seen SELECT seq_id FROM batch"
  """

/// Databases as earlier programs left them.
private enum Fixture {
  static func script(_ name: String) throws -> String {
    try String(
      contentsOf: Program.package.appending(path: "Tests/DaemonTests/Store/Fixtures/\(name).sql"), encoding: .utf8)
  }

  /// A database with the event store that Marten made, and a schema of an earlier program's on it.
  static func database(_ name: String) async throws -> TestDatabase {
    let database = try await TestDatabase.make()
    try await database.script(script("marten"))
    try await database.script(script(name))
    return database
  }
}

extension Schema {
  /// That of a program one number further, with a column and a function of its own.
  fileprivate static func next(compatibleFrom: Int) -> Schema {
    var schema = Schema.current
    schema.numbers.append(
      SchemaNumber(
        number: schema.number + 1, title: "notes on gaps",
        upgrade: "ALTER TABLE tidemark.gap ADD COLUMN IF NOT EXISTS note text;\n", compatibleFrom: compatibleFrom))
    schema.objects = schema.objects.replacing(
      "HINT = 'The daemon reads it again.'", with: "HINT = 'It is read once more.'")
    schema.program = "next"
    return schema
  }
}

extension TestDatabase {
  fileprivate func plan(_ schema: Schema = .current) async throws -> [String] {
    try await connected { session in
      try await SchemaPlan.forStore(
        session, shape: try await StoreShape.read(session, schema: "public"), schema: schema
      ).steps.map(\.title)
    }
  }

  /// Everything there is in our schemas, and how it is made.
  fileprivate func catalog() async throws -> [String] {
    try await connected { session in
      try await session.execute(
        """
        WITH ours AS (SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('tidemark', 'tidemark_internal', 'tidemark_page')),
             class AS (SELECT c.*, o.nspname FROM pg_class AS c JOIN ours AS o ON o.oid = c.relnamespace)
        SELECT format('column %s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                      pg_get_expr(d.adbin, d.adrelid)) AS line
          FROM class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE c.relkind IN ('r', 'v')
         UNION ALL
        SELECT format('constraint %s %s', k.conname, pg_get_constraintdef(k.oid)) FROM pg_constraint AS k JOIN class AS c ON c.oid = k.conrelid
         UNION ALL
        SELECT pg_get_indexdef(i.indexrelid) FROM pg_index AS i JOIN class AS c ON c.oid = i.indrelid
         UNION ALL
        SELECT format('view %s', pg_get_viewdef(c.oid)) FROM class AS c WHERE c.relkind = 'v'
         UNION ALL
        SELECT format('function %s %s %s %s %s %s', p.oid::regprocedure, md5(p.prosrc), p.proconfig, p.proacl, p.provolatile,
                      pg_get_function_result(p.oid))
          FROM pg_proc AS p JOIN ours AS o ON o.oid = p.pronamespace
         UNION ALL
        SELECT format('comment %s %s', c.relname, obj_description(c.oid, 'pg_class')) FROM class AS c WHERE c.relkind IN ('r', 'v')
         UNION ALL
        SELECT format('comment %s %s', p.proname, obj_description(p.oid, 'pg_proc'))
          FROM pg_proc AS p JOIN ours AS o ON o.oid = p.pronamespace
         ORDER BY 1
        """
      ).rows.map { try $0.get("line", as: String.self) }
    }
  }
}

@Suite(.gated) struct `A schema of an earlier program` {
  /// Of each number as the last program of it left it, and of the fourth also as the first one did.
  @Test(arguments: ["v1", "v2", "v3", "v4", "v4_first"])
  func `is brought up to date at a start, and followed from where it was`(fixture: String) async throws {
    let database = try await Fixture.database(fixture)
    let number = Int(fixture.dropFirst().prefix(1))!
    try await database.script("CREATE TABLE seen (seq bigint PRIMARY KEY)")
    let settings = try database.settings(
      seen + "\n[projections.Other]\ntables = [\"other\"]\nsql = \"INSERT INTO other SELECT seq_id FROM batch\"")
    try await database.script("CREATE TABLE other (seq bigint)")
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp(["All:All"])
      _ = try await daemon.observed.first("it says so") { $0.when(.schemaUpdated) }
      try await database.append(type: "x", count: 2)
      try await daemon.caughtUp(["All:All"])
      #expect(try await database.value("SELECT array_agg(seq ORDER BY seq)::text FROM seen") == "{6,7,8,9,10}")
      // What an operator had asked for holds.
      if number >= 2 {
        #expect(try await database.position("Other:All") == 8)
      } else {
        try await daemon.caughtUp(["Other:All"])
      }
    }
    #expect(
      try await database.value(
        "SELECT string_agg(concat_ws(' ', shard, seq_id, class, attempts), ',' ORDER BY seq_id) FROM tidemark.dead_letter"
      )
        == "All:All 3 late_arrival 1,All:All 4 event 2")
    #expect(
      try await database.value("SELECT string_agg(concat_ws(' ', first_seq_id, arrived), ',') FROM tidemark.gap")
        == "3 {3}")
    #expect(
      try await database.value(
        "SELECT string_agg(concat_ws(' ', number, program), ',' ORDER BY number) FROM tidemark.schema_number")
        == (number + 1...5).map { "\($0) \(programVersion)" }.joined(separator: ","))
    #expect(try await database.plan() == [])

    let fresh = try await TestDatabase.make()
    try await fresh.script(try Fixture.script("marten"))
    _ = try await fresh.install(seen)
    let (upgraded, made) = (try await database.catalog(), try await fresh.catalog())
    #expect(made.count > 150)
    #expect(Set(upgraded).symmetricDifference(made).sorted() == [])
  }

  /// While a node of the earlier program lives, it finds the functions that it calls where it knew them.
  @Test func `keeps its functions for as long as a node of an earlier program lives`() async throws {
    let database = try await Fixture.database("v4")
    let settings = try database.settings(seen)
    let node = try await Session.connect(database.options)
    try await node.script(
      """
      SELECT pg_advisory_lock(4711);
      INSERT INTO tidemark.node (name, version, mode, lock_key) VALUES ('old/2', '0.1.0', 'hotcold', 4711)
      """)
    try await database.connected { session in
      _ = try await Installer(settings: settings).install(session, streamIDType: "uuid")
    }
    try await node.script("BEGIN; SELECT tidemark.begin_page('All:All', 5, 8, NULL, false)")
    #expect(try await node.execute("SELECT count(*) FROM tidemark.batch").rows[0].get(0, as: Int.self) == 3)
    try await node.script("ROLLBACK")
    #expect(try await database.plan() == [], "nothing that a node has to make")
    await node.close()
    try await eventually("the node is gone") {
      try await database.value("SELECT NOT tidemark_internal.is_alive(4711)", as: Bool.self)
    }
    let steps = try await database.connected { session in
      try await Installer(settings: settings).install(session, streamIDType: "uuid").steps.map(\.title)
    }
    #expect(steps == ["the removal of functions that no live node calls"])
    #expect(
      try await database.value(
        "SELECT string_agg(proname, ',' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'tidemark'::regnamespace")
        == "append,wait_for")
  }

  /// A role that could call the functions of applications before can after, and nobody else can. Internal functions run with the rights of
  /// the caller, and need no grant.
  @Test func `gives its functions to those who used them`() async throws {
    let database = try await Fixture.database("v4")
    let (app, node) = ("\(database.name)_app", "\(database.name)_node")
    try await database.script(
      """
      CREATE ROLE \(app); CREATE ROLE \(node);
      GRANT USAGE ON SCHEMA tidemark TO \(app), \(node); GRANT SELECT ON tidemark.node, tidemark.installation TO \(node)
      """)
    _ = try await database.install(seen)
    let rights = try await database.value(
      """
      SELECT string_agg(concat_ws(' ', r.role, f.name), ',' ORDER BY r.role, f.name)
        FROM unnest(ARRAY['\(raw: app)', '\(raw: node)']) AS r (role),
             unnest(ARRAY['tidemark.append(uuid,jsonb,bigint,text,text)', 'tidemark.wait_for(text,interval)']) AS f (name)
       WHERE has_function_privilege(r.role, f.name, 'EXECUTE')
      """, as: String.self)
    #expect(
      rights
        == "\(app) tidemark.append(uuid,jsonb,bigint,text,text),\(app) tidemark.wait_for(text,interval),\(node) tidemark.append(uuid,jsonb,bigint,text,text),\(node) tidemark.wait_for(text,interval)"
    )
    #expect(
      try await database.value(
        """
        SELECT count(*) FROM pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
         WHERE p.pronamespace = 'tidemark'::regnamespace AND a.grantee = 0
        """, as: Int.self) == 0)
    // None of them lends its owner's rights.
    #expect(
      try await database.value(
        "SELECT count(*) FROM pg_proc WHERE pronamespace::regnamespace::text LIKE 'tidemark%' AND prosecdef",
        as: Int.self)
        == 0)
  }
}

@Suite(.gated) struct `A schema of a newer program` {
  @Test func `is left alone by an older one, which runs where the newer one lets it`() async throws {
    let database = try await TestDatabase.make()
    let next = Schema.next(compatibleFrom: Schema.current.number)
    let settings = try await database.install(seen)
    try await database.connected { session in
      let made = try await Installer(settings: settings, schema: next).install(session, streamIDType: "uuid")
      #expect(made.steps.map(\.title).contains("notes on gaps"))
    }
    let before = try await database.catalog()
    try await database.append(type: "x", count: 3)
    try await withDaemon(settings) { daemon in try await daemon.caughtUp() }
    let again = try await Program.run(["init", "-c", try Program.settings(database.conninfo, seen)])
    #expect(again.code == 0 && again.output == "nothing to do: everything exists\n", "\(again)")
    #expect(try await database.catalog() == before)
    #expect(
      try await database.value("SELECT string_agg(number || program, ',' ORDER BY number) FROM tidemark.schema_number")
        == "5\(programVersion),6next")
    // A column of the event table that is new is for a program of the newer number to see to.
    try await database.script("ALTER TABLE mt_events ADD COLUMN is_skipped boolean")
    #expect(try await database.plan() == [])
    #expect(try await database.plan(next).first == "Tidemark's view and functions, for the event store as it is now")
    // And so is what is missing.
    try await database.script("DROP FUNCTION tidemark_internal.cut_page")
    let problem = await #expect(throws: Problem.self) { try await database.plan() }
    #expect(problem?.code == .store(.schemaBehind) && "\(problem!)".contains("cut_page"), "\(problem!)")
  }

  @Test func `refuses an older one otherwise, which says what to do and changes nothing`() async throws {
    let database = try await TestDatabase.make()
    let next = Schema.next(compatibleFrom: Schema.current.number + 1)
    let settings = try await database.install(seen)
    try await database.connected { session in
      _ = try await Installer(settings: settings, schema: next).install(session, streamIDType: "uuid")
    }
    let before = try await database.catalog()
    let config = try Program.settings(database.conninfo, seen)
    for verb in [
      ["run"], ["init"], ["check"], ["status"], ["pause", "All"], ["start", "All"], ["rebuild", "All"],
      ["forget", "Old:All"], ["move", "Old:All", "All"], ["dead-letters", "list"],
      ["dead-letters", "discard", "--shard", "All"],
    ] {
      let outcome = try await Program.run(verb + ["-c", config])
      #expect(
        outcome.code == 1
          && outcome.error.contains(
            "the schema tidemark is at number 6, which admits programs from number 6 on; this program, \(programVersion), knows number 5 (TM205)"
          ) && outcome.error.contains("Install the Tidemark that made it, or a newer one."), "\(outcome)")
    }
    #expect(try await database.catalog() == before)
  }

  /// The real program, and beside it one that stands in for the next: the shards are shared, and each event is applied once.
  @Test func `is run beside by a program of the number before`() async throws {
    try await Fleet.with(counters: 4) { fleet in
      let old = try await fleet.start()
      try await fleet.balanced(among: 1)
      let next = Schema.next(compatibleFrom: Schema.current.number)
      let settings = try Settings.load(path: try fleet.config(), environment: [:])
      try await fleet.writing {
        // Not known by this process: nodes are told apart by their processes.
        try await withDaemon(settings, node: "next/1", schema: next) { daemon in
          _ = try await daemon.observed.first("the schema is raised") { $0.when(.schemaUpdated) }
          _ = try await daemon.observed.first("it leads a shard") { $0.when(.leadershipTaken) }
          // One more of the older program comes, and finds the newer schema.
          try await fleet.start()
          try await fleet.balanced(among: 3)
          #expect(
            try await fleet.database.value(
              "SELECT prosrc LIKE '%once more%' FROM pg_proc WHERE proname = 'same_page'", as: Bool.self),
            "the older ones have left the newer function alone")
        }
      }
      #expect(try await fleet.led()[old.pid] != nil)
      try await fleet.isRight()
    }
  }
}

@Suite(.gated) struct `An object of the schema` {
  @Test func `has a comment, and a search path of its own`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(seen)
    let bare = try await database.value(
      """
      SELECT string_agg(what, ',') FROM (
          SELECT c.relname FROM pg_class AS c WHERE c.relkind IN ('r', 'v') AND obj_description(c.oid, 'pg_class') IS NULL
             AND c.relnamespace IN ('tidemark'::regnamespace, 'tidemark_internal'::regnamespace, 'tidemark_page'::regnamespace)
           UNION ALL
          SELECT p.proname FROM pg_proc AS p WHERE obj_description(p.oid, 'pg_proc') IS NULL
             AND p.pronamespace IN ('tidemark'::regnamespace, 'tidemark_internal'::regnamespace, 'tidemark_page'::regnamespace)) AS w (what)
      """, as: String?.self)
    #expect(bare == nil)
    #expect(
      try await database.value(
        """
        SELECT string_agg(p.proname, ',' ORDER BY p.proname) FROM pg_proc AS p
         WHERE p.pronamespace IN ('tidemark'::regnamespace, 'tidemark_internal'::regnamespace, 'tidemark_page'::regnamespace)
           AND NOT coalesce(p.proconfig, '{}') @> '{"search_path=pg_catalog, pg_temp"}'
        """) == "tidemark_batch")
    #expect(
      try await database.value(
        "SELECT string_agg(proname, ',' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'tidemark'::regnamespace")
        == "append,wait_for")
  }

  @Test(arguments: [
    ("DROP VIEW tidemark.batch", "view tidemark.batch"),
    (
      "DROP FUNCTION tidemark_internal.begin_page",
      "function tidemark_internal.begin_page(text, bigint, bigint, text[], boolean)"
    ),
    ("DROP SCHEMA tidemark_internal CASCADE", "schema tidemark_internal"),
    ("DROP TABLE tidemark.node", "table tidemark.node"),
    ("DROP TABLE tidemark.rebuild CASCADE", "table tidemark.rebuild"),
    ("DROP TABLE tidemark.schema_number", "table tidemark.schema_number"),
    // The view goes on reading the table that it was made on, under its new name.
    (
      """
      ALTER TABLE mt_events RENAME TO mt_events_old; ALTER SEQUENCE mt_events_sequence OWNED BY NONE;
      CREATE TABLE mt_events (LIKE mt_events_old INCLUDING ALL)
      """, "view tidemark.batch, on the current event table"
    ),
  ])
  func `that is gone is made again by a start and by init`(how: String, what: String) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    let before = try await database.catalog()
    try await database.script(how)
    #expect(try await database.plan().first == what)
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 3)
      try await daemon.caughtUp()
    }
    #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 3)
    #expect(try await Set(database.catalog()).symmetricDifference(before).sorted() == [])
    try await database.script(how.replacing("mt_events_old", with: "mt_events_older"))
    let made = try await database.connected { session in
      try await Installer(settings: settings).install(session, streamIDType: "uuid").steps.map(\.title)
    }
    #expect(made.first == what)
    #expect(try await Set(database.catalog()).symmetricDifference(before).sorted() == [])
    #expect(try await database.plan() == [])
  }

  /// What was in these tables, nothing else tells: a start that made them anew would forget dead letters, gaps and stops in silence.
  @Test(arguments: ["dead_letter", "gap", "shard"])
  func `whose rows would be lost is made anew by init alone`(table: String) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    try await database.script("DROP TABLE tidemark.\(table)")
    let problem = await #expect(throws: Problem.self) {
      try await Daemon(settings: settings, version: "test", observer: ObservationRecorder()).run()
    }
    #expect(
      problem?.code == .store(.schemaBehind)
        && problem!.message
          == "table tidemark.\(table) is missing, with rows that cannot be derived from anything else"
    )
    #expect(problem!.hint?.contains("`tidemark init`") == true)
    _ = try await database.install(seen)
    try await database.append(type: "x", count: 3)
    try await withDaemon(settings) { try await $0.caughtUp() }
  }

  @Test func `that says the number cannot be made up`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    for how in ["DELETE FROM tidemark.installation", "DROP TABLE tidemark.installation"] {
      try await database.script(how)
      let problem = await #expect(throws: Problem.self) {
        try await database.connected { session in
          try await Installer(settings: settings).install(session, streamIDType: "uuid")
        }
      }
      #expect(
        problem?.code == .store(.schemaBehind)
          && problem!.message.hasPrefix("tidemark.installation is missing or empty"))
    }
  }
}

@Suite(.gated) struct `A change of the schema` {
  /// Another session that holds a lock, known by its name.
  private func hindrance(_ database: TestDatabase, _ statement: String) async throws -> Session {
    var options = database.options
    options.applicationName = "hindrance"
    let session = try await Session.connect(options)
    try await session.script("BEGIN; \(statement)")
    return session
  }

  @Test(arguments: ["SELECT count(*) FROM tidemark.batch", "LOCK TABLE tidemark.gap IN ACCESS SHARE MODE"])
  func `waits for a lock in short turns, says for whom, and lets nodes go on`(statement: String) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    let hindrance = try await hindrance(database, statement)
    let pid = hindrance.processID
    try await withDaemon(settings) { daemon in
      let waits = AsyncStream.makeStream(of: SchemaWait.self)
      let installing = Task {
        try await database.connected { session in
          try await Installer(settings: settings, schema: .next(compatibleFrom: 5)).install(
            session, streamIDType: "uuid"
          ) {
            waits.continuation.yield($0)
          }
        }
      }
      var number = 0
      for await wait in waits.stream {
        number += 1
        #expect(
          wait.description.hasPrefix("pid \(pid) (hindrance, local, postgres, idle in transaction since ")
            && wait.description.contains("which last ran: BEGIN; \(statement)"), "\(wait)")
        // A page begins and ends while it tries.
        try await database.append(type: "x", count: 1)
        try await daemon.caughtUp(within: .seconds(20))
        if number == 3 { break }
      }
      #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 3)
      #expect(
        try await database.value("SELECT version FROM tidemark.installation", as: Int.self) == 5, "nothing is half made"
      )
      await hindrance.close()
      #expect(try await installing.value.steps.map(\.title).contains("notes on gaps"))
      try await database.append(type: "x", count: 1)
      try await daemon.caughtUp()
    }
    #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 4)
  }

  @Test func `at the start of a newer program waits, with a line in the log, beside nodes that run`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    var shared = settings
    shared.mode = .hotcold
    let both = shared
    try await withDaemon(both, node: "old/1") { old in
      try await database.append(type: "x", count: 1)
      try await old.caughtUp()
      let hindrance = try await hindrance(database, "LOCK TABLE tidemark.gap IN ACCESS SHARE MODE")
      try await withDaemon(both, node: "new/1", schema: .next(compatibleFrom: 5)) { new in
        let said = try await new.observed.first("it says who is in the way") { $0.when(.schemaWaits)?[.by] }
        #expect(said.contains("pid \(hindrance.processID) (hindrance"), "\(said)")
        try await database.append(type: "x", count: 1)
        try await old.caughtUp()
        await hindrance.close()
        _ = try await new.observed.first("the schema is raised") { $0.when(.schemaUpdated) }
      }
      try await database.append(type: "x", count: 1)
      try await old.caughtUp()
    }
    #expect(try await database.value("SELECT count(*) FROM seen", as: Int.self) == 3)
  }

  @Test(arguments: ["tidemark.installation", "mt_events"])
  func `that a start would look for says that it waits for a lock, and goes on after it`(table: String) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    let hindrance = try await hindrance(database, "LOCK TABLE \(table) IN ACCESS EXCLUSIVE MODE")
    try await withDaemon(settings) { daemon in
      let said = try await daemon.observed.first("it says so") { $0.when(.startWaits)?.failure }
      #expect(said.hint?.contains("pg_stat_activity") == true, "\(said)")
      await hindrance.close()
      _ = try await daemon.observed.first("it starts") { $0.when(.databaseReady) }
    }
  }

  @Test func `that a verb would look for is not waited for without end`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(seen)
    let hindrance = try await hindrance(database, "LOCK TABLE tidemark.shard IN ACCESS EXCLUSIVE MODE")
    let config = try Program.settings(database.conninfo, seen)
    let outcome = try await Program.run(["status", "-c", config])
    #expect(outcome.code == 1 && outcome.error.contains("pg_stat_activity"), "\(outcome)")
    let advice = try #require(outcome.error.firstMatch(of: /In psql: (SELECT .*\));/)?.output.1, "\(outcome)")
    let found = try await database.value(
      "SELECT array_agg(pid)::text FROM (\(raw: String(advice))) AS a", as: String.self)
    #expect(found.contains("\(hindrance.processID)"), "\(found)")
    await hindrance.close()
  }

  @Test func `by init says on the terminal for whom it waits, and is done when that is gone`() async throws {
    let database = try await Fixture.database("v4")
    let hindrance = try await hindrance(database, "LOCK TABLE tidemark.shard IN ACCESS SHARE MODE")
    let pid = hindrance.processID
    let config = try Program.settings(database.conninfo, seen)
    let initializing = Task { try await Program.run(["init", "-c", config]) }
    // Each attempt is a transaction of its own, and from the second on it is watched.
    var attempts: Set<String> = []
    try await eventually("it has tried a few times") {
      let began = try await database.value(
        "SELECT (SELECT xact_start::text FROM pg_stat_activity WHERE datname = current_database() AND pg_blocking_pids(pid) = ARRAY[\(Int(pid))::integer])",
        as: String?.self)
      if let began { attempts.insert(began) }
      return attempts.count >= 4
    }
    await hindrance.close()
    let outcome = try await initializing.value
    #expect(outcome.code == 0 && outcome.output.contains("made the record of the number"), "\(outcome)")
    let lines = outcome.error.split(separator: "\n").filter { $0.hasPrefix("waiting for pid \(pid) (hindrance") }
    #expect(lines.count == 1 && outcome.error.contains("[has shard]"), "\(outcome.error)")
  }

  @Test func `is given up after a while, with a code`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(seen)
    let hindrance = try await hindrance(database, "SELECT pg_advisory_xact_lock(8388354976532292203)")
    let problem = await #expect(throws: Problem.self) {
      try await database.connected { session in
        try await Installer(settings: settings).install(session, streamIDType: "uuid", within: .milliseconds(1))
      }
    }
    #expect(problem?.code == .store(.schemaBusy) && problem!.message.contains("(hindrance, "), "\(problem!)")
    await hindrance.close()
  }
}
