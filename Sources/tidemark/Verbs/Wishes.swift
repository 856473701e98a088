import Books
import Commands
import Daemon
import Rules
import Settings

/// Which shards an operator's wish is about. It is written down in the database, and obeyed by whatever node runs them.
struct WishOptions {
  static let all: Option<Bool> = .flag("all", "Every shard of the settings file.")

  /// A verb that writes a wish down.
  static func verb(
    _ name: String, about: String, discussion: String = "", options: [any DescribedOption] = [],
    examples: [Example] = [], run: @escaping Verb.Run
  ) -> Verb {
    Verb(
      name, about: about, discussion: discussion, options: SettingsOption.options + options + [all],
      arguments: [ShardArguments.any], alternatives: [["all", "SHARD"]], examples: examples, run: run)
  }

  let line: ParsedLine

  /// - Parameter done: what is said of each shard.
  func wish(_ kind: ShardWishes.Wish.Kind, for length: Duration? = nil, _ done: String) async throws {
    let settings = try SettingsOption(line).load()
    let (all, shards) = (line[Self.all], line[ShardArguments.any])
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

enum Pause {
  static let verb = WishOptions.verb(
    "pause", about: "Have shards wait, until `resume` or for a time; their positions stay.",
    discussion: """
      The wish is a row in the database: whatever node runs the shard obeys within a second, and it outlasts restarts.
      """,
    options: [length],
    examples: [Example("tidemark pause Ledger --for 10m", "Keep a read model still while its table is worked on.")]
  ) { line in
    let length = line[length]
    let words = length.map { " for \($0.settingText)" } ?? ""
    try await WishOptions(line: line).wish(.pause, for: length, "pauses\(words)")
  }

  static let length: Option<Duration?> = .value(
    "for", .duration(isPositive: true), "How long, like 10m; until `resume` where it is left out.")
}

enum Resume {
  static let verb = WishOptions.verb(
    "resume", about: "Let shards go on that were paused, by an operator or after a failure."
  ) { try await WishOptions(line: $0).wish(.run, "goes on") }
}

enum StopVerb {
  static let verb = WishOptions.verb(
    "stop", about: "Stop shards until `start`; this outlasts restarts of the service.",
    discussion: "The same as `pause` without an end."
  ) { try await WishOptions(line: $0).wish(.stop, "stops") }
}

enum Start {
  static let verb = WishOptions.verb(
    "start", about: "Let shards go on that were stopped, by an operator or after a failure."
  ) { try await WishOptions(line: $0).wish(.run, "goes on") }
}
