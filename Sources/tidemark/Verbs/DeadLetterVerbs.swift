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
    "dead-letters", about: "Inspect, replay or discard dead letters: events that shards gave up on.",
    discussion: """
      Each verb takes filters. A dead letter is selected if it matches every given filter; a repeated filter matches any of its values.
      Without a filter, all dead letters are selected.
      """,
    groups: [VerbGroup("", [ListLetters.verb, ShowLetters.verb, ReplayLetters.verb, DiscardLetters.verb])])
}

/// Selects dead letters; all given options must match.
struct LetterFilter {
  static let shards: Option<[String]> = .values("shard", ShardArguments.value, "Only this shard or projection.")
  static let types: Option<[String]> = .values("type", .text("TYPE"), "Only this event type.")
  static let classes: Option<[String]> = .values(
    "class", .text("CLASS", completion: .words(classNames)), "Only this class: \(classNames.joined(separator: ", ")).")
  static let streams: Option<[String]> = .values("stream", .text("ID"), "Only this stream.")
  static let sequences: Option<[Int64]> = .values(
    "sequence", .integer("SEQUENCE"), "Only the event with this sequence.")
  static let since: Option<String?> = .value(
    "since", .text("TIME"), "Only those that first failed at or after this time, in any form PostgreSQL accepts.")
  static let until: Option<String?> = .value(
    "until", .text("TIME"), "Only those that first failed before this time.")

  static let options: [any DescribedOption] = [shards, types, classes, streams, sequences, since, until]
  private static let classNames = LetterClass.allCases.map(\.rawValue)

  let line: ParsedLine

  func filter(_ settings: Settings) -> DeadLetters.Filter {
    var filter = DeadLetters.Filter()
    // A shard that is no longer declared may still have dead letters.
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
    examples: [
      Example("tidemark dead-letters list --shard Trip --since yesterday", "List the events a shard gave up on.")
    ]
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
        printResult(try tidemark.json(rows))
        return
      }
      let count = try await letters.count(filter.filter(settings), session)
      guard count > 0 else { return printResult("no dead letters") }
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
      printResult(table.text)
      if count > rows.count { printResult("… and \(count - rows.count) more; raise --limit to see them") }
    }
  }
}

struct ShowLetters {
  static let verb = Verb(
    "show", about: "Show dead letters with all their details.",
    discussion: "To see the event itself, use `SELECT * FROM mt_events WHERE seq_id = …`",
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
        printResult(try tidemark.json(rows))
        return
      }
      guard !rows.isEmpty else { return printResult("no dead letters") }
      for row in rows {
        printResult(
          "\(printable(row.shard)) · event \(row.sequence) of type \(printable(row.type ?? "unknown")), stream \(printable(row.stream ?? "unknown"))"
        )
        printResult("  error:  \(printable(row.message))\(row.sqlstate.map { " (\(Code.words($0)))" } ?? "")")
        if let detail = row.detail { printResult("  detail: \(printable(detail))") }
        printResult(
          "  class \(row.class), \(row.attempts) \(row.attempts == 1 ? "try" : "tries"), first \(row.first_failed_at), last \(row.last_failed_at), on \(row.node ?? "unknown")"
        )
      }
    }
  }
}

struct ReplayLetters {
  static let verb = Verb(
    "replay", about: "Apply the events of dead letters with the projections as declared now.",
    discussion: """
      Each event is applied in the transaction that removes its dead letter, so never twice. Later events have been applied already,
      unless the projection sets on_poison = "park-stream". The command says what it will do and asks first, unless --yes is given.
      """,
    options: SettingsOption.options + LetterFilter.options + [yes, OutputOption.json],
    examples: [
      Example("tidemark dead-letters replay --shard Trip", "Replay dead letters after fixing the statement of Trip.")
    ]
  ) { try await ReplayLetters(line: $0).run() }

  static let yes: Option<Bool> = .flag("yes", short: "y", "Do not ask for confirmation.")

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
            "\(row.shard) \(row.sequence): the event is archived, or the projection has no statement for it; use `discard`"
          )
        case .failed(let reason): report.failed.append("\(row.shard) \(row.sequence): \(reason)")
        }
      }
      return report
    }
    if line[OutputOption.json] {
      printResult(try tidemark.json(report))
    } else {
      printResult("applied \(report.applied), failed again \(report.failed.count), skipped \(report.left)")
      for failed in report.failed { printError("  \(printable(failed))") }
      if report.left > 0 {
        printResult(
          "skipped: another command has the dead letter, or an earlier event of the stream must be applied first")
      }
    }
    guard report.failed.isEmpty else {
      throw CommandFailure(.failed, "\(counted(report.failed.count, "dead letter")) failed again and were kept")
    }
  }
}

struct DiscardLetters {
  static let verb = Verb(
    "discard", about: "Delete dead letters. Their events stay in the store, and are never applied.",
    discussion: "The command says what it will do and asks first, unless --yes is given.",
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
      // Delete only the dead letters the operator was asked about, not those written while the question was open.
      let keys = try await letters.keys(filter.filter(settings), session)
      try confirm(
        line[ReplayLetters.yes],
        "permanently delete \(counted(keys.count, "dead letter")); their events will never be applied to the read models",
        keys.count)
      return try await letters.discard(keys, session)
    }
    printResult(line[OutputOption.json] ? try tidemark.json(Report(discarded: discarded)) : "discarded \(discarded)")
  }
}

/// Prints what will happen and asks on a terminal; without a terminal, `--yes` is required.
private func confirm(_ yes: Bool, _ what: String, _ count: Int) throws {
  guard count > 0, !yes else { return }
  guard isatty(STDIN_FILENO) == 1 else {
    throw CommandFailure(.usage, "this would \(what)", hint: "Use --yes to proceed.")
  }
  guard ["y", "yes"].contains(answer(to: "This will \(what). Continue? [y/N] ")?.lowercased()) else {
    throw CommandFailure(.failed, "cancelled; nothing was changed")
  }
}
