import ArgumentParser
import Daemon
import EventStore
import Projection
import Settings

/// What an operator wants of shards: written down in the database, obeyed by whatever node runs them.
private func wish(
  _ kind: ShardWishes.Wish.Kind, for length: Duration? = nil, _ shards: [String], all: Bool, _ option: SettingsOption,
  _ done: String
) async throws {
  let settings = try option.load()
  guard all != !shards.isEmpty else {
    throw CommandFailure(.usage, all ? "expected names or --all, found both" : "expected names of shards, or --all")
  }
  let names = all ? settings.projections.map { "\($0.shard)" } : try ShardArguments(settings: settings).names(shards)
  try await withEachSession(settings) { settings, session in
    let by = "\(environment["SUDO_USER"] ?? environment["USER"] ?? "an operator") on \(nodeName().prefix { $0 != "/" })"
    try await ShardWishes().wish(kind, for: length, shards: names, by: by, session)
    for name in names { print("\(settings.prefix)\(name) \(done)") }
  }
}

struct Pause: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pause", abstract: "Have shards wait, until `resume` or for a time; their positions stay.")

  @OptionGroup var settings: SettingsOption
  @Argument(help: "Shards like Trip:All, or projections like Trip.") var shards: [String] = []
  @Flag(help: "Every shard of the settings file.") var all = false
  @Option(name: .customLong("for"), help: "How long, like 10m; until `resume` where it is left out.") var length:
    String?

  func run() async throws {
    let duration = try length.map { text in
      guard let duration = Duration(setting: text), duration > .zero else {
        throw CommandFailure(.usage, "--for: expected a duration like 30s, 10m or 2h, found \"\(text)\"")
      }
      return duration
    }
    try await wish(.pause, for: duration, shards, all: all, settings, "pauses\(length.map { " for \($0)" } ?? "")")
  }
}

struct Resume: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resume", abstract: "Let shards go on that were paused, by an operator or after a failure.")

  @OptionGroup var settings: SettingsOption
  @Argument(help: "Shards like Trip:All, or projections like Trip.") var shards: [String] = []
  @Flag(help: "Every shard of the settings file.") var all = false

  func run() async throws { try await wish(.run, shards, all: all, settings, "goes on") }
}

struct Stop: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stop", abstract: "Stop shards until `start`; this outlasts restarts of the service.")

  @OptionGroup var settings: SettingsOption
  @Argument(help: "Shards like Trip:All, or projections like Trip.") var shards: [String] = []
  @Flag(help: "Every shard of the settings file.") var all = false

  func run() async throws { try await wish(.stop, shards, all: all, settings, "stops") }
}

struct Start: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "start", abstract: "Let shards go on that were stopped, by an operator or after a failure.")

  @OptionGroup var settings: SettingsOption
  @Argument(help: "Shards like Trip:All, or projections like Trip.") var shards: [String] = []
  @Flag(help: "Every shard of the settings file.") var all = false

  func run() async throws { try await wish(.run, shards, all: all, settings, "goes on") }
}
