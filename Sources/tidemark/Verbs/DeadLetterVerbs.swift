import Operator
import Books
import Commands
import Daemon
import EventStore
@preconcurrency import Glibc
import Postgres
import Rules
import Settings
import Telemetry

struct DeadLettersVerb {
  static let verb = Verb(
    "dead-letters", about: "Events that shards gave up on: look at them, apply them again, or let them go.",
    discussion: """
      Each verb takes filters: a letter is meant when it fits every one that is given, and one of its values where it is repeated. Without
      a filter all letters are meant.
      """,
    groups: [VerbGroup("", [ListLetters.verb, ShowLetters.verb, ReplayLetters.verb, DiscardLetters.verb])])
}

/// Which letters; what several options say holds together.
struct LetterFilter {
  static let shards: Option<[String]> = .values("shard", ShardArguments.value, "Of this shard or projection.")
  static let types: Option<[String]> = .values("type", .text("TYPE"), "Of this event type.")
  static let classes: Option<[String]> = .values(
    "class", .text("CLASS", completion: .words(classNames)), "Of this class: \(classNames.joined(separator: ", ")).")
  static let streams: Option<[String]> = .values("stream", .text("ID"), "Of this stream.")
  static let sequences: Option<[Int64]> = .values(
    "sequence", .integer("SEQUENCE"), "Of the event with this sequence.")
  static let since: Option<String?> = .value(
    "since", .text("TIME"), "First failed at or after this time, as PostgreSQL reads it.")
  static let until: Option<String?> = .value("until", .text("TIME"), "First failed before this time.")

  static let options: [any DescribedOption] = [shards, types, classes, streams, sequences, since, until]
  private static let classNames = ["event", "transient", "parked", "late_arrival", "unknown-event"]

  let line: ParsedLine

  func filter(_ settings: Settings) -> DeadLetters.Filter {
    var filter = DeadLetters.Filter()
    // A shard that is no longer declared has letters too.
    filter.shards = line[Self.shards].map { name in
      settings.projections.first { $0.name == name }.map { "\($0.shard)" }
        ?? (name.contains(":") ? name : "\(name):All")
    }
    filter.types = line[Self.types]
    filter.classes = line[Self.classes]
    filter.streams = line[Self.streams]
    filter.sequences = line[Self.sequences]
    filter.since = line[Self.since]
    filter.until = line[Self.until]
    return filter
  }
}

struct ListLetters {
  static let verb = Verb(
    "list", about: "List dead letters.",
    options: SettingsOption.options + LetterFilter.options + [limit, OutputOption.json],
    examples: [Example("tidemark dead-letters list --shard Trip --since yesterday", "See what a shard gave up on.")]
  ) { try await ListLetters(line: $0).run() }

  static let limit: Option<Int> = .value("limit", .integer("NUMBER"), default: 1000, "At most this many.")

  let line: ParsedLine

  func run() async throws {
    let settings = try SettingsOption(line).load()
    let filter = LetterFilter(line: line)
    try await withSession(settings) { session in
      let letters = DeadLetters(try await StoreShape.read(session, schema: settings.eventStore.schema))
      let rows = try await letters.list(filter.filter(settings), limit: line[Self.limit], session)
      if line[OutputOption.json] {
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

struct ShowLetters {
  static let verb = Verb(
    "show", about: "Show everything that is known of dead letters.",
    discussion: "The event itself: `SELECT * FROM mt_events WHERE seq_id = …`",
    options: SettingsOption.options + LetterFilter.options + [limit, OutputOption.json]
  ) { try await ShowLetters(line: $0).run() }

  static let limit: Option<Int> = .value("limit", .integer("NUMBER"), default: 20, "At most this many.")

  let line: ParsedLine

  func run() async throws {
    let settings = try SettingsOption(line).load()
    let filter = LetterFilter(line: line)
    try await withSession(settings) { session in
      let letters = DeadLetters(try await StoreShape.read(session, schema: settings.eventStore.schema))
      let rows = try await letters.list(filter.filter(settings), limit: line[Self.limit], session)
      if line[OutputOption.json] {
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

struct ReplayLetters {
  static let verb = Verb(
    "replay", about: "Apply the events of dead letters with the projections as they are declared now.",
    discussion: """
      Each event in one transaction with the removal of its letter, so never twice. Events that came after it were applied
      already, unless the projection says on_poison = "park-stream". Says what it will do and asks, unless --yes is given.
      """,
    options: SettingsOption.options + LetterFilter.options + [yes, OutputOption.json],
    examples: [
      Example("tidemark dead-letters replay --shard Trip", "Apply them, now that the statement of Trip is mended.")
    ]
  ) { try await ReplayLetters(line: $0).run() }

  static let yes: Option<Bool> = .flag("yes", short: "y", "Do not ask.")

  let line: ParsedLine

  private struct Report: Encodable {
    var applied = 0
    var failed: [String] = []
    var left = 0
  }

  func run() async throws {
    let settings = try SettingsOption(line).load()
    let filter = LetterFilter(line: line)
    let report = try await withSession(settings) { session in
      let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
      try await ShardSessions.prepare(session, workMemory: settings.database.workMemory)
      let rows = try await DeadLetters(shape).list(filter.filter(settings), limit: .max, session)
      try confirm(
        line[Self.yes],
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
    if line[OutputOption.json] {
      print(try tidemark.json(report))
    } else {
      print("applied \(report.applied), failed again \(report.failed.count), left alone \(report.left)")
      for failed in report.failed { printError("  \(printable(failed))") }
      if report.left > 0 {
        print("left alone: taken by somebody else, or an earlier event of the stream has to go first")
      }
    }
    guard report.failed.isEmpty else {
      throw CommandFailure(.failed, "\(counted(report.failed.count, "dead letter")) failed again, and stay")
    }
  }
}

struct DiscardLetters {
  static let verb = Verb(
    "discard", about: "Forget dead letters: their events stay in the store, and are never applied.",
    discussion: "Says what it will do and asks, unless --yes is given.",
    options: SettingsOption.options + LetterFilter.options + [ReplayLetters.yes, OutputOption.json]
  ) { try await DiscardLetters(line: $0).run() }

  let line: ParsedLine

  private struct Report: Encodable {
    var discarded: Int
  }

  func run() async throws {
    let settings = try SettingsOption(line).load()
    let filter = LetterFilter(line: line)
    let discarded = try await withSession(settings) { session in
      let letters = DeadLetters(try await StoreShape.read(session, schema: settings.eventStore.schema))
      // Letters that are written while the answer is awaited were not asked about.
      let keys = try await letters.keys(filter.filter(settings), session)
      try confirm(
        line[ReplayLetters.yes],
        "forget \(counted(keys.count, "dead letter")) for good; their events are never applied to the read models",
        keys.count)
      return try await letters.discard(keys, session)
    }
    print(line[OutputOption.json] ? try tidemark.json(Report(discarded: discarded)) : "discarded \(discarded)")
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
