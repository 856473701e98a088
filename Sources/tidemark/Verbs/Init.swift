import ArgumentParser
import Daemon
import EventStore
import Postgres
import Settings

struct Init: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init",
    abstract: "Make, or bring up to date, what Tidemark needs in the database.",
    discussion: """
      On a database with an event store: Tidemark's own schema, and the tables of projections that declare `setup`. On a database
      without one: an event store in Marten's shape first. Safe to repeat: what is there is left alone.
      """)

  @OptionGroup var settings: SettingsOption

  @Flag(help: "Print the statements instead of running them.")
  var dryRun = false

  @Option(help: "What identifies a stream in a new event store: uuid or string.")
  var streamIdentity: StreamIdentity = .uuid

  enum StreamIdentity: String, ExpressibleByArgument, CaseIterable {
    case uuid, string
  }

  func run() async throws {
    let settings = try settings.load()
    try await withEachSession(settings) { settings, session in
      let setup = Installer(settings: settings)
      let streamIDType = streamIdentity == .uuid ? "uuid" : "varchar"
      if dryRun {
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
