import Commands
import EventStore
import Operator
import Postgres
import Rules
import Settings

struct Move {
  static let verb = Verb(
    "move", about: "Give the position of a renamed projection to its new name.",
    discussion: """
      A projection that was renamed in the settings, or whose version was raised while it keeps its tables, is a new shard: it has no position,
      and waits, because it would apply every event a second time. This command gives it the position, the dead letters and the tables of the
      old name, and the shard continues from there. It changes no rows. If the statements changed too, run `tidemark rebuild` afterwards.

      The settings must declare the new name and no longer the old one, and no node may run the old one.
      """,
    options: SettingsOption.options, arguments: [old, new],
    examples: [Example("tidemark move Trip:All Journey:All", "After [projections.Trip] became [projections.Journey].")]
  ) { try await Move(line: $0).run() }

  static let old: Argument<String> = .one(.text("OLD"), "The full name of the old shard, like Trip:All.")
  static let new: Argument<String> = .one(
    .text("NEW", completion: .names([.shards, .projections])), "The new shard, like Journey:All, or its projection.")

  let line: ParsedLine

  func run() async throws {
    let settings = try SettingsOption(line).load()
    let old = line[Self.old]
    let new = try ShardArguments(settings: settings).definitions([line[Self.new]])[0].shard
    if settings.projections.contains(where: { "\($0.shard)" == old }) {
      throw CommandFailure(
        .usage, "\(old) is declared in the settings",
        hint: "Rename the projection there first, and reload the service.")
    }
    try await withSession(settings) { session in
      let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
      let position = try await FormerShard(old, shape: shape).move(to: new, session)
      printResult("\(new) continues at \(position), where \(old) was")
    }
  }
}
