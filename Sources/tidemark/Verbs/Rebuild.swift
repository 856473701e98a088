import Operator
import Books
import Commands
import Concurrency
import Daemon
import EventStore
@preconcurrency import Glibc
import Postgres
import Rules
import Settings
import Synchronization
import Telemetry

struct RebuildVerb {
  static let verb = Verb(
    "rebuild",
    about: "Replay events into new tables, then exchange them for the old ones, which serve readers meanwhile.",
    discussion: discussion,
    options: SettingsOption.options + [interactive, all] + RebuildChoice.options
      + [yes, restart, abort, here, OutputOption.json],
    arguments: [ShardArguments.any],
    alternatives: [["interactive", "all", "SHARD"], ["restart", "abort"], ["stream", "tenant"]],
    examples: [
      Example("tidemark rebuild Trip", "Rebuild a read model after changing its statement."),
      Example(
        "tidemark rebuild Trip --diff --dry-run",
        "Show the effect of a changed statement before exchanging the tables."),
    ]
  ) { try await RebuildVerb(line: $0).run() }

  private static let discussion = """
    Name the shards, or choose them from a list with --interactive, or use --all: one of these three. The old tables keep serving readers
    and being updated until one commit exchanges them for the new tables. The node that leads the shard does the work. This command watches
    it, and Ctrl-C ends only the watching. With --here, while no node runs, this command does the work itself, and Ctrl-C interrupts it. If
    several operators request the same rebuild, it runs once and all of them watch it; a request that differs from the running rebuild is
    refused. If the settings have several databases, --database names the one whose read models to rebuild.

    A rebuild that was interrupted, by Ctrl-C, a crash or a restart of the server, continues where it was when the same command is given
    again; if a node was doing the work, it continues automatically. --restart starts over, and --abort removes the new tables. The old
    tables stay untouched either way. If one of several shards fails, the command still rebuilds the others, and names the failed one at the
    end.

    A rebuild begins where the shard began according to `start`: with `present` or a time, it leaves out earlier events too.

    --by selects how to exchange the tables. `swap` gives the new table the name of the old one, regardless of size, and requires that
    nothing depends on the old table: no view, foreign key, trigger, policy or publication. `copy` deletes and inserts the rows that differ,
    and keeps all of these. It identifies a row by the key that foreign keys reference, or else by the primary key; it refuses a table whose
    rows foreign keys reference by several keys. `auto` swaps if possible, copies otherwise, and says why.

    --diff prints the differences between old and new rows, with examples. With --dry-run the command stops there; the same command without
    --dry-run then continues with the exchange. The live shard waits until a snapshot shows both at the same position, and continues while
    they are compared. The exchange comes later, so it includes events that the printed differences do not.

    If the event store has compacted streams, or removed events from them, the rebuild stops before it begins and names the streams, unless
    the projection takes the snapshots. The same command with --fewer-rows does without these events.

    Before an exchange that would leave fewer rows than there are, the rebuild stops and says how many, and why if the event store shows it:
    events may be archived, marked as skipped or removed since the shard applied them. The old tables stay. The same command with --fewer-rows
    continues with the exchange.

    --to ends at a sequence, where the live shard then continues; it must not be before the shard's beginning. --workers divides the streams
    among several sessions, for projections with `key` or `parallel`. --stream and --tenant rebuild only their rows, for projections with
    `key` or `tenant_key`. A stream or tenant without events is refused. So is a table with an identity or serial column: the new rows could
    get the numbers of other streams' rows.

    --in-place is for projections whose statements cannot be redirected to new tables: it empties the old tables and refills them, which
    readers can see. It asks first, unless --yes is given. It refuses a projection that writes tables which it does not declare, tables
    whose rows other tables follow by ON DELETE CASCADE or SET NULL, and, without --fewer-rows, a store that lacks events.

    A plugin with effects outside the database is handed every event again instead, if `rebuild_external` is set; the command asks first here
    too. Nothing is exchanged, and only the options --restart, --abort, --here, --yes and --json apply. --workers, --stream and --tenant are
    not available for plugins. --json prints the result and the differences for scripts.
    """

  static let all: Option<Bool> = .flag("all", "Rebuild every shard of the settings file, one after another.")
  static let interactive: Option<Bool> = .flag("interactive", short: "i", "Choose from a list on the terminal.")
  static let here: Option<Bool> = .flag("here", "Do the work in this process, while no node runs.")
  static let restart: Option<Bool> = .flag("restart", "Discard an unfinished rebuild and start over.")
  static let abort: Option<Bool> = .flag(
    "abort", "End a rebuild and remove its new tables; the old tables stay as they are.")
  static let yes: Option<Bool> = .flag("yes", "Do not ask for confirmation.")

  let line: ParsedLine

  private var json: Bool { line[OutputOption.json] }

  func run() async throws {
    let settings = try SettingsOption(line).load()
    let request = try RebuildChoice(line: line).request()
    let abort = line[Self.abort]
    try settings.refuseSeveralDatabases()
    let definitions = try chosen(settings)
    if !abort {
      do {
        for definition in definitions { try RebuildFilter.check(request, definition) }
      } catch {
        throw commandFailure(error)
      }
      try confirm(definitions, request)
    }
    let watch = RebuildWatch(settings: settings, isQuiet: json)
    var results: [RebuildResult] = []
    var failures: [(shard: ShardName, failure: CommandFailure)] = []
    for definition in definitions {
      do {
        if abort {
          try await end(definition, settings)
        } else {
          let row = try await rebuild(definition, request, settings, watch)
          let result = try RebuildResult(row)
          results.append(result)
          if !json { printResult(result.text) }
          if let failure = Self.failure(row) { failures.append((definition.shard, failure)) }
        }
      } catch let problem as Problem where problem.isOfRebuild {
        // Only this rebuild failed; the others can still run.
        failures.append((definition.shard, CommandFailure(.failed, problem)))
      } catch {
        if json, !results.isEmpty { printResult(try tidemark.json(results)) }
        throw commandFailure(error)
      }
    }
    if json { printResult(try tidemark.json(results)) }
    if definitions.count == 1, let failure = failures.first?.failure { throw failure }
    guard failures.isEmpty else {
      throw CommandFailure(
        .failed, "\(failures.count) of \(definitions.count) were not rebuilt",
        details: failures.flatMap { shard, failure in failure.lines("\(shard)").map { "  \($0)" } })
    }
  }

  private static func failure(_ row: RebuildTable.Row) -> CommandFailure? {
    switch row.state {
    case .failed: CommandFailure(.failed, row.error ?? "the rebuild failed", hint: row.hint)
    case .aborted: CommandFailure(.failed, "an operator aborted the rebuild of \(row.shard)")
    case .asked, .replaying, .compared, .done: nil
    }
  }

  private func chosen(_ settings: Settings) throws -> [ProjectionDefinition] {
    let (all, interactive, shards) = (line[Self.all], line[Self.interactive], line[ShardArguments.any])
    let ways = [all, interactive, !shards.isEmpty].count { $0 }
    guard ways == 1 else {
      throw CommandFailure(
        .usage, "expected one of names of shards, --all and -i\(ways == 0 ? "" : ", found several of them")")
    }
    guard all || interactive else { return try ShardArguments(settings: settings).definitions(shards) }
    var list: [ProjectionDefinition] = []
    for definition in settings.projections {
      if let reason = reasonAgainst(definition) {
        if all { printError("\(definition.shard) skipped: \(reason)") }
      } else {
        list.append(definition)
      }
    }
    return all ? list : try ask(list)
  }

  /// Why a projection cannot be chosen; nil if it can.
  private func reasonAgainst(_ definition: ProjectionDefinition) -> String? {
    do throws(Problem) {
      let isWithout = try definition.rebuildKind() == .tables && definition.tables.isEmpty
      return isWithout ? "projection \(definition.name) declares no tables" : nil
    } catch {
      return error.message
    }
  }

  /// Asks until the answer is valid.
  private func ask(_ list: [ProjectionDefinition]) throws -> [ProjectionDefinition] {
    guard isatty(STDIN_FILENO) == 1 else { throw CommandFailure(.usage, "-i needs a terminal") }
    for (index, projection) in list.enumerated() {
      printError("\(index + 1)  \(projection.shard)  \(projection.tables.joined(separator: ", "))")
    }
    while true {
      let words = (answer(to: "Which ones? Numbers separated by spaces: ") ?? "").split { $0 == " " || $0 == "," }
      if words.isEmpty { throw CommandFailure(.failed, "nothing was chosen; nothing was changed") }
      let numbers = words.map { word in list.indices.first { "\($0 + 1)" == word } }
      guard let wrong = numbers.firstIndex(of: nil) else {
        // Each once, in the order given.
        return numbers.indices.filter { !numbers[..<$0].contains(numbers[$0]) }.map { list[numbers[$0]!] }
      }
      printError("expected numbers from 1 to \(list.count), found \"\(words[wrong])\"")
    }
  }

  /// Asks for confirmation of a rebuild that cannot be undone.
  private func confirm(_ definitions: [ProjectionDefinition], _ request: RebuildTable.Request) throws {
    let replayed = definitions.filter { (try? $0.rebuildKind()) == .replay }
    if request.way == .inPlace {
      let tables = definitions.flatMap(\.tables).joined(separator: ", ")
      printError(
        """
        --in-place empties \(tables) now and refills them from the first event. Until it is done, readers see missing and stale rows, and \
        anything that references them must tolerate that. This cannot be undone.
        """)
    } else if !replayed.isEmpty {
      for definition in replayed {
        printError(
          """
          \(definition.shard): \(definition.plugin!.programName) will be handed every event again, from the first to the shard's position, \
          with mode "rebuild". Its external effects are repeated unless it checks for that mode; new events wait. \
          This cannot be undone.
          """)
      }
    } else {
      return
    }
    if line[Self.yes] { return }
    guard isatty(STDIN_FILENO) == 1 else {
      throw CommandFailure(
        .usage, "\(request.way == .inPlace ? "--in-place" : "this rebuild") needs --yes without a terminal")
    }
    guard answer(to: "Type yes to continue: ") == "yes" else {
      throw CommandFailure(.failed, "cancelled; nothing was changed")
    }
  }

  private func end(_ definition: ProjectionDefinition, _ settings: Settings) async throws {
    let name = "\(definition.shard)"
    let hasEnded = try await withSession(settings) { session in
      try await RebuildRequests(by: operatorName(), byNode: false).abort(name, session)
    }
    printResult(
      !hasEnded
        ? "there is no rebuild of \(name) to abort"
        : (try? definition.rebuildKind()) == .replay
          ? "rebuild of \(name) aborted; the plugin keeps the events it was handed"
          : "rebuild of \(name) aborted; its new tables were removed")
  }

  private func rebuild(
    _ definition: ProjectionDefinition, _ request: RebuildTable.Request, _ settings: Settings, _ watch: RebuildWatch
  ) async throws -> RebuildTable.Row {
    let here = line[Self.here]
    // Listen before the request is written: from then on the end of this command is not the end of the rebuild.
    let stop = signals.stop(for: [SIGINT, SIGTERM])
    let interruption = Interruption()
    return try await withThrowingTaskGroup(of: RebuildTable.Row?.self) { group in
      group.addTask {
        let (shape, answer) = try await ask(for: definition, request, settings)
        interruption.words.withLock {
          $0 =
            here
            ? "interrupted; the same command continues from here, --abort removes the new tables"
            : "the rebuild continues in the node; the same command watches it again, --abort ends it"
        }
        watch.say(answer, definition.shard)
        guard here else { return try await watch.untilEnded("\(definition.shard)", here: false) }
        return try await replay(definition, shape, settings, watch)
      }
      group.addTask {
        try await stop.wait()
        throw CommandFailure(.failed, interruption.words.withLock { $0 })
      }
      defer { group.cancelAll() }
      while let row = try await group.next() {
        if let row { return row }
      }
      throw CancellationError()
    }
  }

  /// Writes the request to the database, if a node or this process is there to do the work.
  private func ask(
    for definition: ProjectionDefinition, _ request: RebuildTable.Request, _ settings: Settings
  ) async throws -> (StoreShape, RebuildRequests.Answer) {
    let (here, restart) = (line[Self.here], line[Self.restart])
    return try await withSession(settings) { session in
      let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
      try await SchemaPlan.refuseMissing(session, shape: shape)
      let nodes = try await Membership().live(session).map(\.name)
      if here, let node = nodes.first {
        throw CommandFailure(.failed, "\(node) follows this store", hint: "Omit --here: that node does the work.")
      }
      if !here, nodes.isEmpty {
        throw CommandFailure(
          .failed, "no node follows this store, so there is none to do the work",
          hint: "Start the service, or use --here to do the work in this process.")
      }
      // No node of ours would take the request up.
      let leaders = ForeignLeaders(shape, shareOneLock: settings.database.name != nil)
      try await leaders.refuse(definition.shard, session)
      let rebuilds = RebuildRequests(by: operatorName(), byNode: !here)
      return (shape, try await rebuilds.ask(request, for: definition, restart: restart, session))
    }
  }

  /// Does the work in this process, and shows it.
  private func replay(
    _ definition: ProjectionDefinition, _ shape: StoreShape, _ settings: Settings, _ watch: RebuildWatch
  ) async throws -> RebuildTable.Row {
    let context = ShardContext(
      definition, shape: shape, policy: { settings.rebuildPolicy }, node: nodeName(), observer: watch,
      database: settings.database.name ?? "main")
    let runner = RebuildRunner(
      context, options: ConnectionOptions(settings.database), workMemory: settings.database.workMemory,
      sharesLock: settings.database.name != nil)
    return try await withThrowingTaskGroup(of: RebuildTable.Row?.self) { group in
      group.addTask {
        do {
          try await runner.run()
        } catch let problem as Problem where problem.isOfRebuild {
          // The row records the error, or belongs to another process, whose work this command watches.
        }
        return nil
      }
      group.addTask { try await watch.untilEnded("\(definition.shard)", here: true) }
      defer { group.cancelAll() }
      while let row = try await group.next() {
        if let row { return row }
      }
      throw CancellationError()
    }
  }
}

/// The message of an interrupted command, which depends on how far it got.
private final class Interruption: Sendable {
  let words = Mutex("interrupted while requesting the rebuild; the same command begins it, or continues it")
}

/// The options that select what to rebuild, and how it ends.
struct RebuildChoice {
  static let by: Option<By> = .value(
    "by", .choice("WAY"), default: .auto, "How the new tables replace the old ones.")
  static let inPlace: Option<Bool> = .flag(
    "in-place", "Use no new tables: empty the old ones and refill them, visible to readers.")
  static let diff: Option<Bool> = .flag("diff", "Print the differences between old and new rows.")
  static let dryRun: Option<Bool> = .flag("dry-run", "With --diff: stop there, and leave the old tables in place.")
  static let fewerRows: Option<Bool> = .flag(
    "fewer-rows", "Continue although the event store lacks events, or the tables will have fewer rows than now.")
  static let to: Option<Int64?> = .value(
    "to", .integer("SEQUENCE", 0 ... .max, noun: "a sequence"),
    "End at this sequence rather than at the shard's position; the shard continues from there.")
  static let workers: Option<Int> = .value(
    "workers", .integer("NUMBER", 1...64), default: 1, "The number of sessions to divide the streams among.")
  static let streams: Option<[String]> = .values("stream", .text("ID"), "Only the rows of this stream.")
  static let tenants: Option<[String]> = .values("tenant", .text("ID"), "Only the rows of this tenant.")

  static let options: [any DescribedOption] = [
    by, diff, dryRun, fewerRows, to, workers, streams, tenants, inPlace,
  ]

  enum By: String, CaseIterable { case auto, swap, copy }

  let line: ParsedLine

  func request() throws -> RebuildTable.Request {
    let (by, inPlace, diff, dryRun) = (line[Self.by], line[Self.inPlace], line[Self.diff], line[Self.dryRun])
    let (to, workers) = (line[Self.to], line[Self.workers])
    var request = RebuildTable.Request()
    request.way = inPlace ? .inPlace : RequestedWay(rawValue: by.rawValue)!
    request.compares = diff
    request.exchanges = !dryRun
    request.allowsFewer = line[Self.fewerRows]
    request.upTo = to
    request.workers = workers
    request.streams = line[Self.streams].isEmpty ? nil : line[Self.streams]
    request.tenants = line[Self.tenants].isEmpty ? nil : line[Self.tenants]
    if dryRun, !diff { throw CommandFailure(.usage, "--dry-run needs --diff") }
    if to != nil, request.isPartial {
      throw CommandFailure(
        .usage, "--to cannot be combined with --stream or --tenant: the shard has one position for all rows")
    }
    if inPlace, by != .auto || diff || to != nil || workers > 1 || request.isPartial {
      throw CommandFailure(
        .usage,
        "--in-place cannot be combined with --by, --diff, --to, --workers, --stream or --tenant: it has no new tables")
    }
    return request
  }
}

/// The operator's name, for the row of a request.
func operatorName() -> String {
  "\(environment["SUDO_USER"] ?? environment["USER"] ?? "an operator") on \(nodeName().prefix { $0 != "/" })"
}
