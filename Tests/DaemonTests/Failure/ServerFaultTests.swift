import Books
import Daemon
import EventStore
import Foundation
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
import Testing

/// Counts the events of each page, so that a page that is applied twice, or not at all, shows.
private let counted = """
  [projections.Count]
  tables = ["counted"]
  setup = "CREATE TABLE counted (n bigint)"
  sql = "INSERT INTO counted SELECT count(*) FROM batch"

  """

extension TestDatabase {
  fileprivate func counted() async throws -> Int {
    try await value("SELECT coalesce(sum(n), 0)::bigint FROM counted", as: Int.self)
  }

  fileprivate func endSessions() async throws {
    try await script(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '\(name)' AND pid <> pg_backend_pid()")
  }
}

extension RunningDaemon {
  fileprivate var stopped: [Problem] { observed.all.compactMap { $0.when(.shardStopped)?.failure } }
}

@Suite(.gated) struct `What is the fault of the server or of the session` {
  @Test func `as a switch to read-only is waited out by every shard, and by new ones`() async throws {
    let database = try await TestDatabase.make()
    let projections = counted + Numbers.perEvent
    let settings = try await database.install(projections)
    try await database.append(type: "n", count: 2, data: #"{"n": "1"}"#)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await database.script("ALTER DATABASE \(database.name) SET default_transaction_read_only = on")
      try await database.endSessions()
      let hint =
        try await daemon.observed.first("a shard waits, and says why") { observation -> String? in
          guard let failure = observation.when(.shardRetrying)?.failure, failure.code?.text == "25006" else {
            return nil
          }
          return failure.hint
        } as String
      #expect(hint.contains("default_transaction_read_only"))
      try await database.connected { session in
        try await session.script("SET default_transaction_read_only = off")
        try await session.execute(
          "SELECT tidemark.append(gen_random_uuid(), '[{\"type\": \"n\", \"data\": {\"n\": \"1\"}}]')")
      }
      _ = try await daemon.observed.first("the states are not written, which is said") { $0.when(.agentHindered) }
      // A verb cannot write either, and says whose fault it is.
      let config = try Program.settings(database.conninfo, projections)
      let paused = try await Program.run(["pause", "Each", "-c", config])
      #expect(paused.code == 3 && paused.error.contains("accepts no writes"), "\(paused)")
      _ = try await database.connected { session in
        try await session.script("SET default_transaction_read_only = off")
        try await session.script("ALTER DATABASE \(database.name) RESET default_transaction_read_only")
      }
      // By itself: the advice is that nothing else is needed.
      try await daemon.caughtUp(within: .seconds(20))
      #expect(try await database.counted() == 3 && daemon.stopped.isEmpty)
    }
  }

  /// The statement of each form, and a function that one calls, as the server planned them before.
  @Test func `as a plan that is out of date costs one session, and nobody notices`() async throws {
    let database = try await TestDatabase.make()
    try await database.script(
      """
      CREATE TABLE fun (id uuid);
      CREATE FUNCTION apply_fun() RETURNS void LANGUAGE plpgsql AS 'BEGIN INSERT INTO fun SELECT stream_id FROM batch; END';
      CREATE TABLE kept (seq bigint, n int);
      CREATE FUNCTION keep_all() RETURNS void LANGUAGE plpgsql AS
        'DECLARE k kept; BEGIN FOR k IN SELECT seq_id, 1 FROM batch LOOP INSERT INTO kept VALUES (k.*); END LOOP; END';
      """)
    let settings = try await database.install(
      """
      [projections.Set]
      tables = ["sets"]
      setup = "CREATE TABLE sets (seq bigint)"
      sql = "INSERT INTO sets SELECT seq_id FROM batch RETURNING *"
      [projections.Each]
      tables = ["each"]
      setup = "CREATE TABLE each (seq bigint)"
      on.n = "INSERT INTO each (seq) VALUES (:seq_id) RETURNING *"
      [projections.Fun]
      tables = ["fun"]
      sql = "SELECT apply_fun()"
      [projections.Keep]
      tables = ["kept"]
      sql = "SELECT keep_all()"
      """)
    try await withDaemon(settings) { daemon in
      for _ in 1...8 {
        try await database.append(type: "n", count: 1)
        try await daemon.caughtUp()
      }
      try await database.script(
        """
        ALTER TABLE sets ADD COLUMN note text; ALTER TABLE each ADD COLUMN note text;
        ALTER TABLE kept ALTER COLUMN n TYPE bigint;
        DROP FUNCTION apply_fun();
        CREATE FUNCTION apply_fun() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN INSERT INTO fun SELECT stream_id FROM batch; RETURN 1; END';
        """)
      try await database.append(type: "n", count: 1)
      try await daemon.caughtUp(within: .seconds(15))
      for table in ["sets", "each", "fun", "kept"] {
        #expect(try await database.value("SELECT count(*) FROM \(identifier: table)", as: Int.self) == 9)
      }
      #expect(!daemon.observed.all.contains { [.shardRetrying, .shardStopped, .shardPaused].contains($0.fact) })
    }
  }

  @Test func `is not taken for one of the statement's, which stops its shard all the same`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(counted)
    try await withDaemon(settings) { daemon in
      try await database.append(type: "n", count: 1)
      try await daemon.caughtUp()
      try await database.script("ALTER TABLE counted RENAME TO elsewhere")
      try await database.append(type: "n", count: 1)
      let failure = try await daemon.observed.first("it stops") { $0.when(.shardStopped)?.failure }
      #expect(failure.code?.text == "42P01")
    }
  }

  @Test func `has its code when the server refuses a session, and advice that helps`() async throws {
    let database = try await TestDatabase.make()
    func refusal(_ extra: String) async throws -> Problem {
      var options = database.options
      options.conninfo += " " + extra
      let error = await #expect(throws: PostgresError.self) { try await Session.connect(options) }
      return Problem(of: error!)
    }
    let missing = try await refusal("dbname=no_such_database")
    #expect(missing.code?.text == "3D000" && missing.message.hasSuffix("database \"no_such_database\" does not exist"))
    #expect(missing.hint?.contains("Create the database") == true)
    let role = "guest_\(UUID().uuidString.prefix(8).lowercased())"
    try await database.script("CREATE ROLE \(role) NOLOGIN")
    let login = try await refusal("user=\(role)")
    #expect(login.code?.text == "28000" && login.hint?.contains("LOGIN") == true)
    // Obeyed.
    try await database.script("ALTER ROLE \(role) LOGIN CONNECTION LIMIT 0")
    let limit = try await refusal("user=\(role)")
    #expect(limit.code?.text == "53300" && limit.hint?.contains("CONNECTION LIMIT") == true)
    try await database.script("ALTER ROLE \(role) CONNECTION LIMIT 1")
    var options = database.options
    options.conninfo += " user=\(role)"
    await #expect(throws: Never.self) { try await Session.connect(options).close() }
    try await database.script("DROP ROLE \(role)")
  }
}

@Suite(.gated) struct `What depends on the width of a page` {
  /// A page of `n` events takes `2n` milliseconds.
  private static let slow = """
    [projections.Slow]
    tables = ["slow"]
    setup = "CREATE TABLE slow (n bigint)"
    sql = "INSERT INTO slow SELECT n FROM (SELECT count(*) AS n FROM batch) AS b, LATERAL pg_sleep(0.002 * n) AS s"

    """

  @Test(arguments: [("statement_timeout", "57014"), ("transaction_timeout", "25P04")])
  func `as a timeout of the role is met with narrower pages, live and in a rebuild`(
    setting: String, code: String
  ) async throws {
    let database = try await TestDatabase.make()
    // PostgreSQL has transaction_timeout from 17 on; it ends the session.
    let isKnown: Bool = try await database.value("SELECT EXISTS (SELECT FROM pg_settings WHERE name = \(setting))")
    guard isKnown else { return #expect(setting == "transaction_timeout") }
    let settings = try await database.install(Self.slow)
    try await database.append(type: "n", count: 1_500)
    try await database.script("ALTER DATABASE \(database.name) SET \(setting) = '1s'")
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let failure = try await daemon.observed.first("it says so") { $0.when(.pageNarrowed)?.failure }
      #expect(failure.code?.text == code && failure.hint?.contains(setting) == true, "\(failure)")
      #expect(!daemon.observed.all.contains { [.shardPaused, .shardStopped].contains($0.fact) })
    }
    #expect(try await database.value("SELECT sum(n)::bigint FROM slow", as: Int.self) == 1_500)
    // A row for each page: wider pages make fewer.
    var request = RebuildTable.Request()
    request.allowsFewer = true
    #expect(try await database.rebuild(settings, "Slow", request).state == .done)
    #expect(try await database.value("SELECT sum(n)::bigint FROM slow", as: Int.self) == 1_500)
  }

  /// Each raises what a limit of the server raises, for pages of more than 40 events.
  @Test(arguments: [
    ("out_of_memory", "53200"), ("configuration_limit_exceeded", "53400"), ("program_limit_exceeded", "54000"),
    ("disk_full", "53100"),
  ])
  func `as a limit of the server is met with narrower pages, whatever the policy is`(
    name: String, code: String
  ) async throws {
    let database = try await TestDatabase.make()
    try await database.script(
      """
      CREATE FUNCTION limited(n bigint) RETURNS bigint LANGUAGE plpgsql AS
      $$ BEGIN IF n > 40 THEN RAISE 'too much' USING ERRCODE = '\(name)'; END IF; RETURN n; END $$
      """)
    let settings = try await database.install(
      "[[on_error]]\ndo = \"stop\"\n" + counted.replacing("count(*)", with: "limited(count(*))"))
    try await database.append(type: "n", count: 300)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(
        try await daemon.observed.first("it says so") { $0.when(.pageNarrowed)?.failure?.code?.text } == code)
      #expect(daemon.stopped.isEmpty)
    }
    #expect(try await database.counted() == 300)
  }

  @Test func `as one event that takes too long by itself is for the policy, also for a statement over pages`()
    async throws
  {
    let database = try await TestDatabase.make()
    try await database.script(
      """
      CREATE FUNCTION check_event(v text) RETURNS bigint LANGUAGE plpgsql AS
      $$ BEGIN IF v = 'slow' THEN PERFORM pg_sleep(60); END IF; RETURN 1; END $$
      """)
    let settings = try await database.install(
      "[[on_error]]\nsqlstate = \"57014\"\ndo = \"skip\"\n"
        + counted.replacing("count(*)", with: "sum(check_event(data->>'v'))"))
    try await database.append(type: "n", count: 5)
    try await database.append(type: "n", count: 1, data: #"{"v": "slow"}"#)
    try await database.append(type: "n", count: 5)
    try await database.script("ALTER DATABASE \(database.name) SET statement_timeout = '200ms'")
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let letter = try await daemon.observed.first("the letter") { $0.when(.deadLetter) }
      #expect(letter[.sequence] == 6 && letter.failure?.code?.text == "57014")
    }
    #expect(try await database.counted() == 10)
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 1)
  }

  @Test func `as a session that is ended under each long page is met with narrower pages`() async throws {
    let database = try await TestDatabase.make()
    // As a job of the operator's does that ends transactions which take too long.
    try await database.script(
      """
      CREATE FUNCTION limited(n bigint) RETURNS bigint LANGUAGE plpgsql AS
      $$ BEGIN IF n > 40 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN n; END $$
      """)
    let settings = try await database.install(counted.replacing("count(*)", with: "limited(count(*))"))
    try await database.append(type: "n", count: 300)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(daemon.observed.all.contains { $0.fact == .pageNarrowed })
    }
    #expect(try await database.counted() == 300)
  }
}
