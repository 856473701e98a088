import Books
import Operator
import Commands
import Daemon
import Postgres
import Settings
import Synchronization

struct Init {
  static let verb = Verb(
    "init", about: "Create or update the objects that Tidemark needs in the database.",
    discussion: """
      In a database with an event store: Tidemark's own schema, and the tables of projections that declare `setup`. In a database
      without one: first an event store with Marten's table layout. Safe to repeat: it leaves existing objects alone.

      PostgreSQL refuses to drop a column that a view reads, or to change its type. A migration of the event table that does so first says
      `DROP VIEW tidemark.batch`, in its own transaction; the daemon, or the next `tidemark init`, makes the view again.
      """,
    options: SettingsOption.options + [dryRun, roles, streamIdentity],
    examples: [
      Example("tidemark init --dry-run | psql shop", "Create the missing objects as another role."),
      Example("tidemark init --roles | psql shop", "Make a role for each kind of user, with what it needs."),
    ]
  ) { try await Init(line: $0).run() }

  static let dryRun: Option<Bool> = .flag(
    "dry-run", "Print the statements instead of running them, to read or to run with psql(1).")
  static let roles: Option<Bool> = .flag(
    "roles",
    "Print statements that make a group role for the daemon, an application, a viewer and operators, each with its privileges."
  )
  static let streamIdentity: Option<StreamIdentity> = .value(
    "stream-identity", .choice("TYPE"), default: .uuid, "The type of stream identifiers in a new event store.")

  enum StreamIdentity: String, CaseIterable {
    case uuid, string
  }

  let line: ParsedLine

  func run() async throws {
    let settings = try SettingsOption(line).load()
    try await withEachSession(settings) { settings, session in
      try await SessionBounds.applyForOperator(to: session)
      if line[Self.roles] {
        if let name = settings.database.name { printResult("-- database \(name)") }
        printResult(try await RoleScript.text(store: settings.eventStore.schema, session))
        return
      }
      let setup = Installer(settings: settings)
      let streamIDType = line[Self.streamIdentity] == .uuid ? "uuid" : "varchar"
      if line[Self.dryRun] {
        let plan = try await setup.plan(session, streamIDType: streamIDType)
        if let name = settings.database.name { printResult("-- database \(name)") }
        printResult(plan.isEmpty ? "-- nothing to do" : plan.script)
        return
      }
      let last = Mutex<SchemaWait?>(nil)
      let plan = try await setup.install(
        session, streamIDType: streamIDType,
        waits: { wait in
          // Once for each that is in the way, and not once a second.
          let before = last.withLock { last in
            defer { last = wait }
            return last
          }
          if let before, before.isFor(wait) { return }
          printNote("\(settings.prefix)waiting for \(wait)")
        }, made: { printResult("\(settings.prefix)made \($0.title)") })
      if plan.isEmpty { printResult("\(settings.prefix)nothing to do: everything exists") }
    }
  }
}
