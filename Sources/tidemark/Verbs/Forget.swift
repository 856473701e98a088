import Commands
import EventStore
import Operator
import Postgres
import Rules
import Settings

struct Forget {
  static let verb = Verb(
    "forget", about: "Forget shards that are not in the settings any more: position, state and dead letters.",
    discussion: """
      An older version of a projection, or one that was removed, keeps its position, so that it can go on where it was. Forgetting
      cannot be undone; tables are left alone. A shard that the settings declare is refused.
      """,
    options: SettingsOption.options, arguments: [shards],
    examples: [
      Example("tidemark forget Trip:All", "Forget a projection that was renamed, after a look at `tidemark list`.")
    ]
  ) { try await Forget(line: $0).run() }

  static let shards: Argument<[String]> = .some(.text("SHARD"), "Full names of shards, like Trip:All.")

  let line: ParsedLine

  func run() async throws {
    let settings = try SettingsOption(line).load()
    let shards = line[Self.shards]
    for name in shards where settings.projections.contains(where: { "\($0.shard)" == name || $0.name == name }) {
      throw CommandFailure(
        .usage, "\(name) is declared in the settings", hint: "Remove it there, reload the service, then forget it.")
    }
    try await withSession(settings) { session in
      let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
      for name in shards {
        guard try await forgetShard(name, shape: shape, session) else {
          throw CommandFailure(
            .failed, "there is no shard \(name)", hint: "`tidemark list` names the shards that have a position.")
        }
        print("\(name) is forgotten")
      }
    }
  }
}
