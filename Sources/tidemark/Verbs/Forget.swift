import Commands
import EventStore
import Operator
import Postgres
import Rules
import Settings

struct Forget {
  static let verb = Verb(
    "forget", about: "Delete the position, state and dead letters of shards that are no longer in the settings.",
    discussion: """
      An older version of a projection, or one that was removed, keeps its position, so that it can continue later. Forgetting
      cannot be undone. The tables of the read model stay, with their rows; the command names them. A shard that is declared on them later
      does not start while they have rows. The command refuses a shard that the settings declare, or that a node runs. To give the position
      of a renamed projection to its new name, use `tidemark move`.
      """,
    options: SettingsOption.options, arguments: [shards],
    examples: [
      Example("tidemark forget Trip:All", "Forget a projection that was removed, after a look at `tidemark list`.")
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
        guard let tables = try await FormerShard(name, shape: shape).forget(session) else {
          throw CommandFailure(
            .failed, "there is no shard \(name)", hint: "`tidemark list` shows the shards that have a position.")
        }
        printResult(
          "\(name) forgotten\(tables.isEmpty ? "" : "; what it filled stays: \(tables.joined(separator: ", "))")")
      }
    }
  }
}
