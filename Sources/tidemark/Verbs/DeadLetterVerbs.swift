import ArgumentParser
import Daemon
import EventStore
@preconcurrency import Glibc
import Postgres
import Projection
import Settings
import Telemetry

struct DeadLettersVerb: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dead-letters",
    abstract: "Events that shards gave up on: look at them, apply them again, or let them go.",
    subcommands: [ListLetters.self, ShowLetters.self, ReplayLetters.self, DiscardLetters.self])
}

/// Which letters; what several options say holds together.
struct LetterFilter: ParsableArguments {
  @Option(name: .customLong("shard"), help: "Of this shard or projection; repeatable.") var shards: [String] = []
  @Option(name: .customLong("type"), help: "Of this event type; repeatable.") var types: [String] = []
  @Option(
    name: .customLong("class"),
    help: "Of this class: event, transient, parked, late_arrival, unknown-event; repeatable.") var classes: [String] =
      []
  @Option(name: .customLong("stream"), help: "Of this stream; repeatable.") var streams: [String] = []
  @Option(name: .customLong("sequence"), help: "Of the event with this sequence; repeatable.") var sequences: [Int64] =
    []
  @Option(help: "First failed at or after this time, as PostgreSQL reads it.") var since: String?
  @Option(help: "First failed before this time.") var until: String?

  func filter(_ settings: Settings) -> DeadLetters.Filter {
    var filter = DeadLetters.Filter()
    // A shard that is no longer declared has letters too.
    filter.shards = shards.map { name in
      settings.projections.first { $0.name == name }.map { "\($0.shard)" }
        ?? (name.contains(":") ? name : "\(name):All")
    }
    filter.types = types
    filter.classes = classes
    filter.streams = streams
    filter.sequences = sequences
    filter.since = since
    filter.until = until
    return filter
  }
}

struct ListLetters: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List dead letters.")

  @OptionGroup var settings: SettingsOption
  @OptionGroup var filter: LetterFilter
  @Option(help: "At most this many.") var limit = 1000
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    let settings = try settings.load()
    try await withSession(settings) { session in
      let letters = DeadLetters(try await StoreShape.read(session, schema: settings.eventStore.schema))
      let rows = try await letters.list(filter.filter(settings), limit: limit, session)
      if json {
        print(try tidemark.json(rows))
        return
      }
      let count = try await letters.count(filter.filter(settings), session)
      guard count > 0 else { return print("no dead letters") }
      var table = TextTable([
        ("SHARD", .left), ("SEQUENCE", .right), ("TYPE", .left), ("CLASS", .left), ("SQLSTATE", .left),
        ("FIRST FAILED", .left), ("TRIES", .right), ("ERROR", .left),
      ])
      for row in rows {
        table.add([
          row.shard, "\(row.sequence)", printable(row.type ?? "-"), row.class, row.sqlstate ?? "-", row.first_failed_at,
          "\(row.attempts)", printable(String(row.message.prefix(80))),
        ])
      }
      print(table.text)
      if count > rows.count { print("… and \(count - rows.count) more; --limit shows them") }
    }
  }
}

struct ShowLetters: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show everything that is known of dead letters.",
    discussion: "The event itself: SELECT * FROM mt_events WHERE seq_id = …")

  @OptionGroup var settings: SettingsOption
  @OptionGroup var filter: LetterFilter
  @Option(help: "At most this many.") var limit = 20
  @Flag(help: "Print JSON.") var json = false

  func run() async throws {
    let settings = try settings.load()
    try await withSession(settings) { session in
      let letters = DeadLetters(try await StoreShape.read(session, schema: settings.eventStore.schema))
      let rows = try await letters.list(filter.filter(settings), limit: limit, session)
      if json {
        print(try tidemark.json(rows))
        return
      }
      guard !rows.isEmpty else { return print("no dead letters") }
      for row in rows {
        print(
          "\(row.shard) · event \(row.sequence) of type \(printable(row.type ?? "unknown")), stream \(printable(row.stream ?? "unknown"))"
        )
        print("  error:  \(printable(row.message))\(row.sqlstate.map { " (\(Failure.words(forCode: $0)))" } ?? "")")
        if let detail = row.detail { print("  detail: \(printable(detail))") }
        print(
          "  class \(row.class), \(row.attempts) \(row.attempts == 1 ? "try" : "tries"), first \(row.first_failed_at), last \(row.last_failed_at), on \(row.node ?? "unknown")"
        )
      }
    }
  }
}

struct ReplayLetters: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay", abstract: "Apply the events of dead letters with the projections as they are declared now.",
    discussion: """
      Each event in one transaction with the removal of its letter, so never twice. Events that came after it were applied
      already, unless the projection says on_poison = "park-stream".
      """)

  @OptionGroup var settings: SettingsOption
  @OptionGroup var filter: LetterFilter
  @Flag(name: .shortAndLong, help: "Do not ask.") var yes = false
  @Flag(help: "Print JSON.") var json = false

  private struct Report: Encodable {
    var applied = 0
    var failed: [String] = []
    var left = 0
  }

  func run() async throws {
    let settings = try settings.load()
    let report = try await withSession(settings) { session in
      let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
      try await Daemon.prepareForShards(session, workMemory: settings.database.workMemory)
      let rows = try await DeadLetters(shape).list(filter.filter(settings), limit: .max, session)
      try confirm(
        yes,
        "apply \(counted(rows.count, "event")) again and remove the dead letters of those that succeed",
        rows.count)
      var report = Report()
      let replay = Replay(shape: shape, node: nodeName())
      let definitions = Dictionary(uniqueKeysWithValues: settings.projections.map { ("\($0.shard)", $0) })
      for row in rows {
        guard let definition = definitions[row.shard] else {
          report.failed.append("\(row.shard) \(row.sequence): the shard is not in the settings")
          continue
        }
        switch try await replay.replay(row.sequence, definition, session) {
        case .applied: report.applied += 1
        case .notTaken: report.left += 1
        case .nothingToApply:
          report.failed.append(
            "\(row.shard) \(row.sequence): the event is archived, or the projection has no statement for it; `discard` it"
          )
        case .failed(let reason): report.failed.append("\(row.shard) \(row.sequence): \(reason)")
        }
      }
      return report
    }
    if json {
      print(try tidemark.json(report))
    } else {
      print("applied \(report.applied), failed again \(report.failed.count), left alone \(report.left)")
      for line in report.failed { printError("  \(printable(line))") }
      if report.left > 0 {
        print("left alone: taken by somebody else, or an earlier event of the stream has to go first")
      }
    }
    guard report.failed.isEmpty else {
      throw CommandFailure(.failed, "\(counted(report.failed.count, "dead letter")) failed again, and stay")
    }
  }
}

struct DiscardLetters: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "discard", abstract: "Forget dead letters: their events stay in the store, and are not applied.")

  @OptionGroup var settings: SettingsOption
  @OptionGroup var filter: LetterFilter
  @Flag(name: .shortAndLong, help: "Do not ask.") var yes = false
  @Flag(help: "Print JSON.") var json = false

  private struct Report: Encodable {
    var discarded: Int
  }

  func run() async throws {
    let settings = try settings.load()
    let discarded = try await withSession(settings) { session in
      let letters = DeadLetters(try await StoreShape.read(session, schema: settings.eventStore.schema))
      // Letters that are written while the answer is awaited were not asked about.
      let keys = try await letters.keys(filter.filter(settings), session)
      try confirm(
        yes, "forget \(counted(keys.count, "dead letter")) for good; their events are never applied to the read models",
        keys.count)
      return try await letters.discard(keys, session)
    }
    print(json ? try tidemark.json(Report(discarded: discarded)) : "discarded \(discarded)")
  }
}

/// Says what will happen, and asks on a terminal; without one, `--yes` has to be said.
private func confirm(_ yes: Bool, _ what: String, _ count: Int) throws {
  guard count > 0, !yes else { return }
  guard isatty(STDIN_FILENO) == 1 else {
    throw CommandFailure(.usage, "this would \(what)", hint: "Say --yes to do it.")
  }
  guard ["y", "yes"].contains(answer(to: "This will \(what). Go on? [y/N] ")?.lowercased()) else {
    throw CommandFailure(.failed, "nothing was done")
  }
}
