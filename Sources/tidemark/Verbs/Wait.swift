import ArgumentParser
import Daemon
import EventStore
import Postgres
import Projection
import Settings

struct Wait: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "wait",
    abstract: "Wait until shards have applied everything appended so far.",
    discussion: "Exit status 4 when the timeout passes first. Without names: every shard of the settings file.")

  @OptionGroup var settings: SettingsOption

  @Argument(help: "Shards like Trip:All, or projections like Trip.")
  var shards: [String] = []

  @Option(help: "How long to wait, like 30s or 5m.")
  var timeout: String = "30s"

  func run() async throws {
    let settings = try settings.load()
    guard let timeout = Duration(setting: timeout) else {
      throw CommandFailure(.usage, "--timeout: expected a duration like 30s, 5m or 250ms, found \"\(timeout)\"")
    }
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
          .timedOut, "not caught up after \(self.timeout): \(list), of \(grouped(late[0].target))",
          hint: "`tidemark status` says why; `journalctl -u tidemark` says more.")
      }
    }
  }
}
