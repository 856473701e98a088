import Books
import Commands
import Daemon
import EventStore
import Operator
import Rules
import Settings
import Telemetry

/// The shards of an operator's request. The verb writes it to the database, and the node that runs the shard carries it
/// out.
struct RequestOptions {
  static let all: Option<Bool> = .flag("all", "Every shard of the settings file.")
  static let timeout: Option<Duration> = .value(
    "timeout", .duration(), default: .seconds(10), "How long to wait until the shards obey, like 30s or 5m.")

  /// A verb that writes a request.
  static func verb(
    _ name: String, about: String, discussion: String = "", options: [any DescribedOption] = [],
    examples: [Example] = [], run: @escaping Verb.Run
  ) -> Verb {
    Verb(
      name, about: about, discussion: discussion, options: SettingsOption.options + options + [all, timeout],
      arguments: [ShardArguments.any], alternatives: [["all", "SHARD"]], examples: examples, run: run)
  }

  let line: ParsedLine

  /// Writes the request and waits until it is carried out.
  ///
  /// - Parameter choice: where shards continue whose position another program moved.
  func request(
    _ kind: OperatorRequest.Kind, for length: Duration? = nil, _ words: Words, choice: MovedPosition.Choice? = nil
  ) async throws {
    let settings = try SettingsOption(line).load()
    let (all, shards, timeout) = (line[Self.all], line[ShardArguments.any], line[Self.timeout])
    guard all != !shards.isEmpty else {
      throw CommandFailure(.usage, all ? "expected names or --all, found both" : "expected names of shards or --all")
    }
    let names = all ? settings.projections.map { "\($0.shard)" } : try ShardArguments(settings: settings).names(shards)
    try await withEachSession(settings) { settings, session in
      if let choice {
        let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
        for name in names {
          let outcome = try await MovedPosition(of: name, shape: shape).settle(choice, session)
          print("\(settings.prefix)\(name) \(outcome)")
        }
      }
      let serials = try await ShardRequests().write(
        kind, for: length, shards: names, by: operatorName(), session)
      let outcomes = try await Obedience(serials: serials, timeout: timeout).run(session)
      var late: [String] = []
      for name in names {
        switch outcomes[name] {
        case .obeyed: printResult("\(settings.prefix)\(name) \(words.done)")
        case .noNode:
          printResult("\(settings.prefix)\(name) \(words.will) when a node starts that runs it; none runs now")
        case .notYet(let answer): late.append("\(name) \(Self.state(answer))")
        case nil: break
        }
      }
      guard late.isEmpty else {
        throw CommandFailure(
          .timedOut, "not \(words.done) after \(timeout.settingText): \(late.joined(separator: "; "))",
          hint:
            "A shard obeys when its page ends, and the request stays. `tidemark status` shows the shard; --timeout waits longer."
        )
      }
    }
  }

  /// How a verb names what a shard has done, and will do.
  struct Words {
    var done: String
    var will: String
  }

  private static func state(_ answer: ShardRequests.Answer?) -> String {
    guard let answer else { return "is unknown" }
    let node = answer.node.isEmpty ? "" : " on \(printable(answer.node))"
    return "is \(answer.condition)\(node)" + (answer.reason.map { " (\(printable($0)))" } ?? "")
  }
}

enum Pause {
  static let verb = RequestOptions.verb(
    "pause", about: "Pause shards until `resume`, or for a given time; positions are kept.",
    discussion: """
      The request is a row in the database, and survives restarts. The node that runs the shard carries it out when the shard's page ends,
      usually within a second; the command waits for that, and its exit status is 4 if --timeout passes first. If no node runs the shard,
      the next one that does obeys.
      """,
    options: [length],
    examples: [Example("tidemark pause Ledger --for 10m", "Keep a read model unchanged during maintenance.")]
  ) { line in
    let length = line[length]
    let words = length.map { " for \($0.settingText)" } ?? ""
    try await RequestOptions(line: line).request(
      .pause, for: length, .init(done: "paused\(words)", will: "pauses\(words)"))
  }

  static let length: Option<Duration?> = .value(
    "for", .duration(isPositive: true), "How long, like 10m; if omitted, until `resume`.")
}

enum Resume {
  static let verb = RequestOptions.verb(
    "resume", about: "Resume shards that were paused by an operator or after a failure."
  ) { try await RequestOptions(line: $0).request(.run, .init(done: "resumed", will: "resumes")) }
}

enum StopVerb {
  static let verb = RequestOptions.verb(
    "stop", about: "Stop shards until `start`; this survives restarts of the service.",
    discussion: "The same as `pause` without a time limit."
  ) { try await RequestOptions(line: $0).request(.stop, .init(done: "stopped", will: "stops")) }
}

enum Start {
  static let verb = RequestOptions.verb(
    "start", about: "Start shards that were stopped by an operator or after a failure.",
    discussion: """
      A shard whose position another program has moved or deleted waits (TM218), and so does one whose event store began anew (TM207) while
      its tables had rows. For these, say where it continues: --from-record where Tidemark left it, which is right as long as nobody wrote
      its tables; --from-here at the position that is there now. `tidemark rebuild` fills the tables again instead.
      """,
    options: [fromHere, fromRecord],
    examples: [
      Example("tidemark start Trip --from-record", "After a host has rebuilt its own projection of the same name.")
    ]
  ) { line in
    let choice: MovedPosition.Choice? =
      switch (line[fromHere], line[fromRecord]) {
      case (true, true): throw CommandFailure(.usage, "expected --from-here or --from-record, found both")
      case (true, false): .here
      case (false, true): .record
      case (false, false): nil
      }
    try await RequestOptions(line: line).request(.run, .init(done: "started", will: "starts"), choice: choice)
  }

  static let fromHere: Option<Bool> = .flag(
    "from-here", "Continue at the position as it is now, though another program wrote it.")
  static let fromRecord: Option<Bool> = .flag(
    "from-record", "Continue where Tidemark left the shard, though another program has moved its position since.")
}
