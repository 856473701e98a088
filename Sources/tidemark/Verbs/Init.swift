import Books
import Operator
import Commands
import Daemon
import Postgres
import Settings

struct Init {
  static let verb = Verb(
    "init", about: "Make, or bring up to date, what Tidemark needs in the database.",
    discussion: """
      On a database with an event store: Tidemark's own schema, and the tables of projections that declare `setup`. On a database
      without one: an event store in Marten's shape first. Safe to repeat: what is there is left alone.
      """,
    options: SettingsOption.options + [dryRun, streamIdentity],
    examples: [
      Example("tidemark init --dry-run | psql shop", "Have a person of other rights make what is missing.")
    ]
  ) { try await Init(line: $0).run() }

  static let dryRun: Option<Bool> = .flag(
    "dry-run", "Print the statements instead of running them, for a person or for psql(1).")
  static let streamIdentity: Option<StreamIdentity> = .value(
    "stream-identity", .choice("TYPE"), default: .uuid, "What identifies a stream in a new event store.")

  enum StreamIdentity: String, CaseIterable {
    case uuid, string
  }

  let line: ParsedLine

  func run() async throws {
    let settings = try SettingsOption(line).load()
    try await withEachSession(settings) { settings, session in
      let setup = Installer(settings: settings)
      let streamIDType = line[Self.streamIdentity] == .uuid ? "uuid" : "varchar"
      if line[Self.dryRun] {
        let plan = try await setup.plan(session, streamIDType: streamIDType)
        if let name = settings.database.name { print("-- database \(name)") }
        print(plan.isEmpty ? "-- nothing to do" : plan.script)
        return
      }
      let plan = try await setup.install(session, streamIDType: streamIDType)
      if plan.isEmpty { print("\(settings.prefix)nothing to do: everything is there") }
      for step in plan.steps { print("\(settings.prefix)made \(step.title)") }
    }
  }
}
