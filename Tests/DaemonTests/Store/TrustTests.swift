import Books
import Daemon
import EventStore
import Foundation
import Operator
import Postgres
import Rules
import Settings
import Telemetry
import TestSupport
import Testing

private let seen = """
  [projections.All]
  tables = ["seen"]
  setup = "CREATE TABLE seen (seq bigint PRIMARY KEY)"
  sql = "INSERT INTO seen SELECT seq_id FROM batch"

  """

@Suite(.gated) struct `What another role made first` {
  /// A database, and a role that may create in it and in `public`.
  private func database(store: Bool) async throws -> (TestDatabase, mallory: String) {
    let database = try await TestDatabase.make()
    let mallory = "\(database.name)_mallory"
    if store { _ = try await database.install(seen) }
    try await database.script(
      "CREATE ROLE \(mallory); GRANT CREATE ON DATABASE \(database.name) TO \(mallory); GRANT CREATE ON SCHEMA public TO \(mallory)"
    )
    return (database, mallory)
  }

  @Test(arguments: [
    (false, "CREATE SCHEMA tidemark", "schema tidemark"),
    (false, "CREATE SCHEMA tidemark_internal", "schema tidemark_internal"),
    (false, "CREATE SCHEMA tidemark_page", "schema tidemark_page"),
    (
      false, "CREATE TABLE public.mt_event_progression (name text, last_seq_id bigint)",
      "table public.mt_event_progression"
    ),
    (false, "CREATE SEQUENCE public.mt_events_sequence", "sequence public.mt_events_sequence"),
    (true, "CREATE VIEW tidemark.shard AS SELECT 1 AS name", "view tidemark.shard"),
    (
      true, "CREATE FUNCTION tidemark_internal.more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
      "function tidemark_internal.more()"
    ),
    (true, "CREATE TABLE tidemark_page.trip (id int)", "table tidemark_page.trip"),
  ])
  func `is refused by init, by verbs and by the start, with its owner`(store: Bool, how: String, what: String)
    async throws
  {
    let (database, mallory) = try await database(store: store)
    if store {
      // As an administrator who means well may have granted, or a dump without owners restored.
      try await database.script(
        "GRANT CREATE ON SCHEMA tidemark, tidemark_internal, tidemark_page TO \(mallory); ALTER TABLE tidemark.shard RENAME TO was_shard"
      )
    }
    try await database.script("SET ROLE \(mallory); \(how)")
    let config = try Program.settings(database.conninfo, seen)
    for verb in [["init"], ["init", "--dry-run"], ["status"], ["check"], ["run"]] where store || verb[0] == "init" {
      let outcome = try await Program.run(verb + ["-c", config])
      #expect(
        outcome.code == 1 && outcome.error.contains("\(what) belongs to role \(mallory)")
          && outcome.error.contains("TM217"),
        "\(verb): \(outcome)")
    }
    guard !store else { return }
    // The advice: look, drop, run init again.
    let advice = try #require(
      try await Program.run(["init", "-c", config]).error.firstMatch(of: #/drop it: (DROP [^;]+;)/#)?.output.1)
    try await database.script(String(advice))
    #expect(try await Program.run(["init", "-c", config]).code == 0)
  }

  /// Marten's table of dead letters is written to where Marten made it, and where another role made it, it is not.
  @Test func `is not taken for a table of Marten's`() async throws {
    let (database, mallory) = try await database(store: true)
    try await database.script(
      """
      SET ROLE \(mallory);
      CREATE TABLE public.mt_doc_deadletterevent (id uuid, data jsonb);
      CREATE TABLE public.mt_high_water_skips (id int);
      GRANT ALL ON public.mt_doc_deadletterevent, public.mt_high_water_skips TO PUBLIC
      """)
    let shape = try await database.connected { try await StoreShape.read($0, schema: "public") }
    #expect(!shape.hasDeadLetterDocuments && !shape.hasHighWaterSkips)
    try await database.script(
      "ALTER TABLE mt_doc_deadletterevent OWNER TO postgres; ALTER TABLE mt_high_water_skips OWNER TO postgres")
    let trusted = try await database.connected { try await StoreShape.read($0, schema: "public") }
    #expect(trusted.hasDeadLetterDocuments && trusted.hasHighWaterSkips)
  }

  /// The application's role owns the event table, and what it makes beside it is its own affair.
  @Test func `is trusted where the owner of the event table made it`() async throws {
    let (database, app) = try await database(store: true)
    try await database.script(
      """
      ALTER TABLE mt_events OWNER TO \(app);
      SET ROLE \(app); CREATE TABLE public.mt_doc_deadletterevent (id uuid, data jsonb)
      """)
    let shape = try await database.connected { session in
      let shape = try await StoreShape.read(session, schema: "public")
      #expect(try await Trust(schema: "public").openSchemas(session) == [])
      return shape
    }
    #expect(shape.hasDeadLetterDocuments)
  }

  /// A trigger on a read model runs as the daemon, whichever role made it.
  @Test func `is warned of where it is a read model`() async throws {
    let (database, mallory) = try await database(store: true)
    try await database.script("ALTER TABLE seen OWNER TO \(mallory); REVOKE CREATE ON SCHEMA public FROM \(mallory)")
    let settings = try database.settings(seen)
    let warnings = { @Sendable in
      try await database.connected { try await NameWarnings(schema: "public").all(settings.projections, $0) }
    }
    let found = try await warnings()
    #expect(
      found.map(\.message)
        == ["the table public.seen belongs to role \(mallory), whose triggers on it run as role postgres"])
    try await database.script(String(try #require(found.first?.hint?.firstMatch(of: #/ALTER TABLE [^;]+;/#)?.output)))
    #expect(try await warnings() == [])
  }

  /// Who may create on the path is named, with a remedy that helps.
  @Test func `on the search path is warned of before it is made`() async throws {
    let (database, mallory) = try await database(store: true)
    try await database.script("CREATE SCHEMA models; GRANT CREATE ON SCHEMA models TO PUBLIC")
    var settings = try database.settings(seen)
    settings.database.url += " options='-c search_path=models,public'"
    let url = settings
    let open = try await Session.connect(ConnectionOptions(url.database)).closing {
      try await Trust(schema: "public").openSchemas($0)
    }
    #expect(
      open.map(\.message).map { String($0.prefix { $0 != "," }) }
        == ["PUBLIC may create in schema models", "\(mallory) may create in schema public"], "\(open)")
    for problem in open {
      let remedy = try #require(problem.hint?.firstMatch(of: #/run: (REVOKE [^;]+;)/#)?.output.1)
      try await database.script(String(remedy))
    }
    #expect(
      try await Session.connect(ConnectionOptions(url.database)).closing {
        try await Trust(schema: "public").openSchemas($0)
      } == [])
  }
}

@Suite struct `A schema of our own` {
  /// The event store's schema is the application's, and never one of ours.
  @Test(arguments: SearchPath.ownSchemas + ["tidemark_rebuild_trip_all_1a2b3c4d"])
  func `is refused for the event store`(schema: String) {
    let problems = #expect(throws: SettingsProblems.self) {
      try Settings.parse("[database]\nurl = \"\"\n[event_store]\nschema = \"\(schema)\"\n")
    }
    #expect(
      problems?.lines.first?.contains(
        "event_store.schema: expected the schema of the event store, found \"\(schema)\", which is for Tidemark's own objects"
      )
        == true, "\(problems?.lines ?? [])")
  }
}
