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
    let waited = try names(settings)
    try await withSession(settings) { session in
      let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
      let late = try await CatchUp(shards: waited, timeout: timeout).run(session, shape: shape)
      guard late.isEmpty else {
        let list = late.map { "\($0.shard) at \($0.position.map(grouped) ?? "no position")" }.joined(separator: ", ")
        throw CommandFailure(
          .timedOut, "not caught up after \(self.timeout): \(list), of \(grouped(late[0].target))",
          hint: "`tidemark status` says why; `journalctl -u tidemark` says more.")
      }
    }
  }

  private func names(_ settings: Settings) throws -> [String] {
    let all = settings.projections.map { (name: $0.name, shard: "\($0.shard)") }
    if shards.isEmpty { return all.map(\.shard) }
    return try shards.map { wanted in
      guard let found = all.first(where: { $0.shard == wanted || $0.name == wanted }) else {
        throw CommandFailure(
          .usage, "there is no shard \"\(wanted)\" in the settings",
          hint: "There are: \(all.map(\.shard).joined(separator: ", "))")
      }
      return found.shard
    }
  }
}
