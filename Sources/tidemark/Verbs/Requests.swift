import Books
import Commands
import Daemon
import Rules
import Settings

/// The shards of an operator's request. The verb writes it to the database, and the node that runs the shard carries it
/// out.
struct RequestOptions {
  static let all: Option<Bool> = .flag("all", "Every shard of the settings file.")

  /// A verb that writes a request.
  static func verb(
    _ name: String, about: String, discussion: String = "", options: [any DescribedOption] = [],
    examples: [Example] = [], run: @escaping Verb.Run
  ) -> Verb {
    Verb(
      name, about: about, discussion: discussion, options: SettingsOption.options + options + [all],
      arguments: [ShardArguments.any], alternatives: [["all", "SHARD"]], examples: examples, run: run)
  }

  let line: ParsedLine

  /// - Parameter done: the words to print after each shard's name.
  func request(_ kind: OperatorRequest.Kind, for length: Duration? = nil, _ done: String) async throws {
    let settings = try SettingsOption(line).load()
    let (all, shards) = (line[Self.all], line[ShardArguments.any])
    guard all != !shards.isEmpty else {
      throw CommandFailure(.usage, all ? "expected names or --all, found both" : "expected names of shards or --all")
    }
    let names = all ? settings.projections.map { "\($0.shard)" } : try ShardArguments(settings: settings).names(shards)
    try await withEachSession(settings) { settings, session in
      try await ShardRequests().write(
        kind, for: length, shards: names, by: operatorName(), session)
      for name in names { print("\(settings.prefix)\(name) \(done)") }
    }
  }
}

enum Pause {
  static let verb = RequestOptions.verb(
    "pause", about: "Pause shards until `resume`, or for a given time; positions are kept.",
    discussion: """
      The request is a row in the database. The node that runs the shard carries it out within a second, and it survives restarts.
      """,
    options: [length],
    examples: [Example("tidemark pause Ledger --for 10m", "Keep a read model unchanged during maintenance.")]
  ) { line in
    let length = line[length]
    let words = length.map { " for \($0.settingText)" } ?? ""
    try await RequestOptions(line: line).request(.pause, for: length, "pauses\(words)")
  }

  static let length: Option<Duration?> = .value(
    "for", .duration(isPositive: true), "How long, like 10m; if omitted, until `resume`.")
}

enum Resume {
  static let verb = RequestOptions.verb(
    "resume", about: "Resume shards that were paused by an operator or after a failure."
  ) { try await RequestOptions(line: $0).request(.run, "resumes") }
}

enum StopVerb {
  static let verb = RequestOptions.verb(
    "stop", about: "Stop shards until `start`; this survives restarts of the service.",
    discussion: "The same as `pause` without a time limit."
  ) { try await RequestOptions(line: $0).request(.stop, "stops") }
}

enum Start {
  static let verb = RequestOptions.verb(
    "start", about: "Start shards that were stopped by an operator or after a failure."
  ) { try await RequestOptions(line: $0).request(.run, "starts") }
}
