import Books
import Daemon
import Foundation
import Postgres
import Rules
import Sandbox
import Settings
import TestSupport
import Testing

/// PRIVILEGES in tidemark(7): for each user of a store the statements that its role needs, and no other.
private struct Manual {
  /// Statements by the heading above them.
  let grants: [String: [String]]

  init() throws {
    let page = try String(
      contentsOf: Program.package.appending(path: "packaging/man/tidemark.7"), encoding: .utf8)
    var grants: [String: [String]] = [:]
    let section = page.split(separator: ".Sh PRIVILEGES\n")[1].split(separator: "\n.Sh ")[0]
    for part in section.split(separator: ".Ss ").dropFirst() {
      // `An` is a macro, so its heading begins with an escape.
      let heading = String(part.prefix { $0 != "\n" }).replacing(#"\&"#, with: "")
      let blocks = part.split(separator: ".Bd -literal -offset indent\n").dropFirst().map {
        $0.split(separator: "\n.Ed")[0].replacing("\n    ", with: " ")
      }
      grants[heading] = blocks.flatMap { $0.split(separator: "\n").map(String.init) }
    }
    self.grants = grants
  }
}

@Suite(.gated) struct `A role with just the rights that the manual names` {
  /// A database that an owner has made, where nobody else may do anything yet; and a role.
  private func database(_ projections: String) async throws -> (TestDatabase, settings: Settings, role: String) {
    let database = try await TestDatabase.make()
    let settings = try await database.install(projections)
    let role = "\(database.name)_role"
    try await database.script(
      """
      CREATE ROLE \(role) LOGIN;
      REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
      REVOKE ALL ON DATABASE \(database.name) FROM PUBLIC; GRANT CONNECT ON DATABASE \(database.name) TO \(role)
      """)
    var limited = settings
    limited.database.url = settings.database.url.replacing("user=postgres", with: "user=\(role)")
    return (database, limited, role)
  }

  /// The statements under a heading, for this role.
  private func grants(_ heading: String, to role: String) throws -> [String] {
    let grants = try #require(try Manual().grants[heading], "\(heading)")
    for grant in grants { #expect(grant.hasPrefix("GRANT ") && grant.hasSuffix(" TO who;"), "\(grant)") }
    return grants.map { $0.replacing(" TO who;", with: " TO \(role);") }
  }

  private func connected<T: Sendable>(_ settings: Settings, _ body: (Session) async throws -> T) async throws -> T {
    try await Session.connect(ConnectionOptions(settings.database), threadName: "test").closing(body)
  }

  @Test func `follows a store, isolates what fails, and keeps its books`() async throws {
    let (database, settings, role) = try await database(
      SampleProjections.toml + """

        [projections.Poisoned]
        tables = ["poisoned"]
        setup = "CREATE TABLE poisoned (seq bigint, n int)"
        sql = "INSERT INTO poisoned SELECT seq_id, (data->>'Traveled')::int FROM batch WHERE type = 'travel'"
        """)
    let grants = try grants("The daemon", to: role)
    try await database.script(grants.joined(separator: "\n"))
    try await database.script("GRANT SELECT, INSERT, UPDATE, DELETE ON trip, day, account, poisoned TO \(role)")
    _ = try await database.write(writers: 2, transactions: 30)
    for traveled in ["1", "1.5"] {
      try await database.append(
        type: "travel", count: 1, data: #"{"Traveled": \#(traveled), "Day": "2026-01-01"}"#)
    }
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
    }
    #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
    #expect(
      try await database.value(
        "SELECT count(*) > 0 FROM tidemark.dead_letter WHERE shard = 'Poisoned:All'", as: Bool.self))
    #expect(try await database.value("SELECT count(*) FROM poisoned", as: Int.self) >= 1)

    // Each of them is needed, and named where it is missing.
    for grant in grants {
      try await database.script(
        grant.replacing("GRANT ", with: "REVOKE ").replacing(" TO \(role);", with: " FROM \(role);"))
      let missing = try await connected(settings) { try await Privileges.missing($0, schema: "public") }
      #expect(!missing.isEmpty, "\(grant)")
      try await database.script(missing.joined(separator: "; "))
      let left = try await connected(settings) { try await Privileges.missing($0, schema: "public") }
      #expect(left.isEmpty, "\(left)")
    }
  }

  /// What `check` prints is run as the owner, again and again, until nothing is missing.
  @Test func `is told by check each GRANT that it lacks, and with these nothing more`() async throws {
    let (database, settings, role) = try await database("")
    try await database.script(
      """
      CREATE TABLE plain (id uuid PRIMARY KEY, n int); CREATE TABLE counted (n int);
      CREATE SCHEMA far; CREATE TABLE far."Odd name" (id uuid PRIMARY KEY); CREATE VIEW far.seen AS SELECT n FROM counted;
      CREATE TABLE filled (n int); CREATE TABLE gone (id uuid); CREATE TABLE locked (n int);
      CREATE FUNCTION far.twice(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 2 * $1; END';
      REVOKE ALL ON FUNCTION far.twice(int) FROM PUBLIC
      """)
    let config = try Program.settings(
      settings.database.url,
      """
      [projections.Plain]
      sql = "INSERT INTO plain SELECT DISTINCT stream_id, 1 FROM batch ON CONFLICT (id) DO UPDATE SET n = plain.n + 1"
      [projections.Odd]
      on.x = 'INSERT INTO far."Odd name" VALUES (:stream_id)'
      [projections.Seen]
      tables = ["filled"]
      sql = "INSERT INTO filled SELECT far.twice(s.n) FROM batch, far.seen AS s"
      [projections.Gone]
      on.x = "DELETE FROM gone WHERE id = :stream_id"
      [projections.Locked]
      sql = "SELECT n FROM locked FOR UPDATE"
      [projections.Plugin]
      exec = ["/bin/true"]
      effects = "database"
      tables = ["counted"]
      """)
    var told: [String] = []
    var outcome = try await Program.run(["check", "-c", config])
    #expect(outcome.error.contains("TM203"), "\(outcome)")
    for _ in 1...5 where outcome.code != 0 {
      let grants = (outcome.error + outcome.output).matches(of: #/GRANT [^;]+;/#).map { String($0.output) }
      #expect(!grants.isEmpty, "\(outcome)")
      told += grants.filter { !$0.contains("tidemark") && !$0.contains("mt_") }
      try await database.script(grants.joined(separator: "\n"))
      outcome = try await Program.run(["check", "-c", config])
    }
    #expect(outcome.code == 0, "\(outcome)")
    #expect(
      told.map { $0.replacing(" TO \(role);", with: "") }.sorted() == [
        "GRANT EXECUTE ON FUNCTION far.twice(integer)", "GRANT INSERT ON far.\"Odd name\"",
        "GRANT INSERT ON public.filled",
        "GRANT SELECT ON far.seen", "GRANT SELECT ON public.filled", "GRANT SELECT, DELETE ON public.gone",
        "GRANT SELECT, INSERT, UPDATE ON public.plain", "GRANT SELECT, INSERT, UPDATE, DELETE ON public.counted",
        "GRANT SELECT, UPDATE ON public.locked", "GRANT TEMPORARY ON DATABASE \(database.name)",
        "GRANT USAGE ON SCHEMA far", "GRANT USAGE ON SCHEMA far",
        "GRANT USAGE ON SCHEMA public",
      ], "\(told)")
  }

  @Test func `appends events and waits for read models`() async throws {
    let (database, settings, role) = try await database(SampleProjections.toml)
    let grants = try grants("An application", to: role)
    try await database.script(grants.joined(separator: "\n"))
    let append =
      #"SELECT version FROM tidemark.append(gen_random_uuid(), '[{"type":"travel","data":{"Traveled":1,"Day":"2026-01-01"}}]')"#
    var all = settings
    all.database.url = settings.database.url.replacing("user=\(role)", with: "user=postgres")
    try await withDaemon(all) { daemon in
      try await connected(settings) { session in
        let version = try await session.execute(SQL(text: append)).rows[0].get(0, as: Int64.self)
        #expect(version == 1)
        let waited = try await session.execute("SELECT tidemark.wait_for('Trip:All', '20 s')").rows[0]
          .get(0, as: Bool.self)
        #expect(waited)
        for refused in [
          "SELECT data FROM public.mt_events", "SELECT tidemark_internal.begin_page('Trip:All', 1, 2, NULL, false)",
          "DELETE FROM tidemark.dead_letter", "SELECT * FROM tidemark.batch",
        ] {
          let error = await #expect(throws: PostgresError.self) { try await session.execute(SQL(text: refused)) }
          #expect(error?.sqlState == .insufficientPrivilege, "\(refused): \(error!)")
        }
      }
    }
    for grant in grants {
      try await database.script(
        grant.replacing("GRANT ", with: "REVOKE ").replacing(" TO \(role);", with: " FROM \(role);"))
      let error = await #expect(throws: PostgresError.self) {
        try await connected(settings) { session in
          try await session.execute(SQL(text: append))
          try await session.execute("SELECT tidemark.wait_for('Trip:All', '1 ms')")
        }
      }
      #expect(error?.sqlState == .insufficientPrivilege, "without \(grant)")
      try await database.script(grants.joined(separator: "\n"))
    }
  }

  @Test func `looks, and changes nothing`() async throws {
    let (database, settings, role) = try await database(SampleProjections.toml)
    let grants = try grants("A viewer", to: role)
    try await database.script(grants.joined(separator: "\n"))
    try await database.append(type: "travel", count: 3, data: #"{"Traveled": 1, "Day": "2026-01-01"}"#)
    var all = settings
    all.database.url = settings.database.url.replacing("user=\(role)", with: "user=postgres")
    let config = try Program.settings(settings.database.url)
    let verbs = [["status"], ["status", "--json"], ["list"], ["dead-letters", "list"], ["wait", "--timeout", "20s"]]
    try await withDaemon(all, node: "host/1") { daemon in
      try await daemon.caughtUp()
      for verb in verbs {
        let outcome = try await Program.run(verb + ["-c", config])
        #expect(outcome.code == 0, "\(verb): \(outcome)")
      }
      let status = try await Program.run(["status", "-c", config])
      #expect(status.output.contains("host/1") && status.output.contains("Trip:All"), "\(status)")
      for verb in [["pause", "Trip"], ["dead-letters", "discard", "--all", "--yes"], ["forget", "Old:All", "--yes"]] {
        let outcome = try await Program.run(verb + ["-c", config])
        #expect(outcome.code != 0, "\(verb): \(outcome)")
      }
    }
    try await connected(settings) { session in
      let error = await #expect(throws: PostgresError.self) {
        try await session.execute("SELECT data FROM public.mt_events")
      }
      #expect(error?.sqlState == .insufficientPrivilege, "bodies of events stay unseen")
    }
    for grant in grants {
      try await database.script(
        grant.replacing("GRANT ", with: "REVOKE ").replacing(" TO \(role);", with: " FROM \(role);"))
      var refused = false
      for verb in verbs where try await Program.run(verb + ["-c", config]).code != 0 { refused = true }
      #expect(refused, "without \(grant)")
      try await database.script(grants.joined(separator: "\n"))
    }
  }

  @Test func `is in the manual as in the program`() throws {
    let manual = try Manual().grants
    #expect(Set(manual.keys) == Set(Role.allCases.map(\.title)))
    for role in Role.allCases {
      #expect(manual[role.title] == role.grants.map { $0.statement(store: "public", to: "who") + ";" })
    }
  }

  /// Verbs of an operator, while a daemon with rights of its own runs.
  @Test(
    arguments: [
      (
        Role.operator,
        [
          ["status"], ["pause", "Trip"], ["resume", "Trip"], ["stop", "Trip"], ["start", "Trip"],
          ["dead-letters", "list"],
          ["dead-letters", "show", "--shard", "Poisoned"], ["dead-letters", "discard", "--shard", "Poisoned", "--yes"],
        ],
        [["forget", "Old:All"], ["rebuild", "Trip"], ["dead-letters", "replay", "--shard", "Poisoned", "--yes"]]
      ),
      (
        Role.rebuild, [["status"], ["rebuild", "Trip"], ["rebuild", "Day", "--diff", "--dry-run"]],
        [["pause", "Trip"], ["forget", "Old:All"]]
      ),
      (Role.forget, [["list"], ["forget", "Old:All"]], [["pause", "Trip"], ["rebuild", "Day"]]),
    ] as [(Role, [[String]], [[String]])])
  func `does what an operator of its kind does, and nothing else`(
    kind: Role, may: [[String]], mayNot: [[String]]
  ) async throws {
    let (database, settings, role) = try await database(
      SampleProjections.toml + """

        [projections.Poisoned]
        tables = ["poisoned"]
        setup = "CREATE TABLE poisoned (n int)"
        sql = "INSERT INTO poisoned SELECT (data->>'Traveled')::int FROM batch WHERE type = 'travel'"
        """)
    let grants = try grants(kind.title, to: role)
    try await database.script(grants.joined(separator: "\n"))
    try await database.append(type: "travel", count: 1, data: #"{"Traveled": 1.5, "Day": "2026-01-01"}"#)
    try await database.script("INSERT INTO mt_event_progression (name, last_seq_id) VALUES ('Old:All', 1)")
    var all = settings
    all.database.url = settings.database.url.replacing("user=\(role)", with: "user=postgres")
    let config = try Program.settings(
      settings.database.url,
      SampleProjections.toml
        + "\n[projections.Poisoned]\ntables = [\"poisoned\"]\nsql = \"INSERT INTO poisoned SELECT (data->>'Traveled')::int FROM batch WHERE type = 'travel'\"\n"
    )
    try await withDaemon(all) { daemon in
      try await daemon.caughtUp()
      for verb in mayNot {
        let outcome = try await Program.run(verb + ["-c", config])
        #expect(outcome.code != 0 && outcome.error.contains("permission denied"), "\(verb): \(outcome)")
      }
      for verb in may {
        let outcome = try await Program.run(verb + ["-c", config])
        #expect(outcome.code == 0, "\(verb): \(outcome)")
      }
    }
  }

  @Test func `is made by the script of init --roles, which can run twice`() async throws {
    let (database, settings, _) = try await database(SampleProjections.toml)
    let config = try Program.settings(
      settings.database.url.replacing("user=\(database.name)_role", with: "user=postgres"))
    for _ in 1...2 {
      let script = try await Program.run(["init", "--roles", "-c", config])
      #expect(script.code == 0, "\(script)")
      try await database.script(script.output)
    }
    let made = try await database.value(
      "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname LIKE 'tidemark\\_%' AND NOT rolcanlogin",
      as: String.self)
    #expect(made == Role.allCases.map(\.groupRole).sorted().joined(separator: " "))
    #expect(
      try await database.value(
        "SELECT has_table_privilege('tidemark_viewer', 'tidemark.shard', 'SELECT')", as: Bool.self))
    #expect(
      try await !database.value("SELECT has_table_privilege('tidemark_viewer', 'mt_events', 'SELECT')", as: Bool.self))
  }
}
