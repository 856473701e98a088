import ArgumentParser
import Daemon
import EventStore
import Postgres
import Projection
import Settings

struct Forget: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "forget",
    abstract: "Forget shards that are not in the settings any more: position, state and dead letters.",
    discussion: """
      An older version of a projection, or one that was removed, keeps its position, so that it can go on where it was. Forgetting
      cannot be undone; tables are left alone. A shard that the settings declare is refused.
      """)

  @OptionGroup var settings: SettingsOption
  @Argument(help: "Full names of shards, like Trip:All.") var shards: [String]

  func run() async throws {
    let settings = try settings.load()
    for name in shards where settings.projections.contains(where: { "\($0.shard)" == name || $0.name == name }) {
      throw CommandFailure(
        .usage, "\(name) is declared in the settings", hint: "Remove it there, reload the service, then forget it.")
    }
    try await withSession(settings) { session in
      let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
      for name in shards {
        guard try await ShardTable().forget(name, shape: shape, session) else {
          throw CommandFailure(
            .failed, "there is no shard \(name)", hint: "`tidemark list` names the shards that have a position.")
        }
        print("\(name) is forgotten")
      }
    }
  }
}
