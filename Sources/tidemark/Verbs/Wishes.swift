import ArgumentParser
import Daemon
import EventStore
import Projection
import Settings

/// Which shards an operator's wish is about. It is written down in the database, and obeyed by whatever node runs them.
struct WishOptions: ParsableArguments {
  @OptionGroup var settings: SettingsOption
  @Argument(help: "Shards like Trip:All, or projections like Trip.") var shards: [String] = []
  @Flag(help: "Every shard of the settings file.") var all = false

  /// - Parameter done: what is said of each shard.
  func wish(_ kind: ShardWishes.Wish.Kind, for length: Duration? = nil, _ done: String) async throws {
    let settings = try settings.load()
    guard all != !shards.isEmpty else {
      throw CommandFailure(.usage, all ? "expected names or --all, found both" : "expected names of shards, or --all")
    }
    let names = all ? settings.projections.map { "\($0.shard)" } : try ShardArguments(settings: settings).names(shards)
    try await withEachSession(settings) { settings, session in
      try await ShardWishes().wish(
        kind, for: length, shards: names, by: operatorName(), session)
      for name in names { print("\(settings.prefix)\(name) \(done)") }
    }
  }
}

struct Pause: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pause", abstract: "Have shards wait, until `resume` or for a time; their positions stay.")

  @OptionGroup var options: WishOptions
  @Option(name: .customLong("for"), help: "How long, like 10m; until `resume` where it is left out.")
  var length: String?

  func run() async throws {
    let duration = try length.map { text in
      guard let duration = Duration(setting: text), duration > .zero else {
        throw CommandFailure(.usage, "--for: expected a duration like 30s, 10m or 2h, found \"\(text)\"")
      }
      return duration
    }
    try await options.wish(.pause, for: duration, "pauses\(length.map { " for \($0)" } ?? "")")
  }
}

struct Resume: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resume", abstract: "Let shards go on that were paused, by an operator or after a failure.")

  @OptionGroup var options: WishOptions

  func run() async throws { try await options.wish(.run, "goes on") }
}

struct Stop: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stop", abstract: "Stop shards until `start`; this outlasts restarts of the service.")

  @OptionGroup var options: WishOptions

  func run() async throws { try await options.wish(.stop, "stops") }
}

struct Start: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "start", abstract: "Let shards go on that were stopped, by an operator or after a failure.")

  @OptionGroup var options: WishOptions

  func run() async throws { try await options.wish(.run, "goes on") }
}
