import Books
import Operator
import Commands
import Daemon
import EventStore
import Postgres
import Rules
import Settings

struct Wait {
  static let verb = Verb(
    "wait", about: "Wait until shards have applied everything appended so far.",
    discussion: """
      The exit status is 4 if the timeout passes first. Without names, it waits for every shard of the settings file.
      """,
    options: SettingsOption.options + [timeout], arguments: [ShardArguments.any],
    examples: [
      Example(
        "tidemark wait Trip --timeout 5m", "After a migration, delay a deployment until the read model is up to date.")
    ]
  ) { try await Wait(line: $0).run() }

  static let timeout: Option<Duration> = .value(
    "timeout", .duration(), default: .seconds(30), "The longest wait, like 30s or 5m.")

  let line: ParsedLine

  func run() async throws {
    let settings = try SettingsOption(line).load()
    let timeout = line[Self.timeout]
    let shards = line[ShardArguments.any]
    let waited =
      shards.isEmpty ? settings.projections.map { "\($0.shard)" } : try ShardArguments(settings: settings).names(shards)
    let deadline = ContinuousClock.now + timeout
    try await withEachSession(settings) { settings, session in
      let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
      let left = max(.zero, deadline - ContinuousClock.now)
      let late = try await CatchUp(shards: waited, timeout: left).run(session, shape: shape)
      guard late.isEmpty else {
        let list = late.map { "\($0.shard) at \($0.position.map(grouped) ?? "no position")" }.joined(separator: ", ")
        throw CommandFailure(
          .timedOut, "not caught up after \(timeout.settingText): \(list), of \(grouped(late[0].target))",
          hint: try await Membership().live(session).isEmpty
            ? "No node runs: start one with `systemctl start tidemark` or `tidemark run`."
            : "`tidemark status` shows why; `journalctl -u tidemark` has the details.")
      }
    }
  }
}
