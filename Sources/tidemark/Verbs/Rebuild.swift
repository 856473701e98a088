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
    about: "Replay projections into new tables and exchange them for the old ones, which serve readers meanwhile.",
    discussion: discussion,
    options: SettingsOption.options + [interactive, all] + RebuildChoice.options
      + [yes, restart, abort, here, OutputOption.json],
    arguments: [ShardArguments.any],
    alternatives: [["interactive", "all", "SHARD"], ["restart", "abort"], ["stream", "tenant"]],
    examples: [
      Example("tidemark rebuild Trip", "Rebuild a read model after its statement was changed."),
      Example(
        "tidemark rebuild Trip --diff --dry-run",
        "See what a changed statement makes different, before it is exchanged."),
    ]
  ) { try await RebuildVerb(line: $0).run() }

  private static let discussion = """
    Shards are named, or chosen from a list with --interactive, or --all are meant: one of these three. The new tables stand beside the
    old ones, which go on serving readers and being kept up to date, until they are exchanged in one commit. The node that leads the shard
    does the work, and this command watches it, until Ctrl-C, which leaves the work alone; with --here, while no node runs, the command
    does it itself, and Ctrl-C ends it. Where several operators ask for the same at once, it is done once and all watch it; what differs
    from the one under way is refused. Where the settings have several databases, --database names the one whose read models are meant.

    One that was interrupted, by Ctrl-C, a crash or a restart of the server, goes on where it was when the same command is given again, and
    by itself where a node did it; --restart begins anew, and --abort removes what was made. The old tables are untouched either way. Of
    several shards, one that fails does not keep the others from their turn; the command names it at its end.

    A rebuild begins where the shard began, by `start`: with `present` and with a time, events from before are left out again.

    --by says how the tables are exchanged. `swap` gives the new table the name of the old one, whatever their size, and needs that
    nothing hangs on it: no view, foreign key, trigger, policy, publication. `copy` deletes and inserts the rows that differ, and keeps all
    of these. A row is the same row while it has the key that foreign keys refer to, or else the primary key; where foreign keys refer to
    several keys of a table it is refused. `auto` swaps where it can, copies where it cannot, and says why.

    --diff prints what differs between old and new, with examples, and with --dry-run stops there; the same command without it then goes on
    to the exchange. The live shard waits until a snapshot has both at the same position, and goes on while they are compared; the exchange
    comes after that, so events in between are in the new rows and not in what was printed.

    --to ends at a sequence, from where the live shard then goes on; none before the shard's beginning. --workers shares the streams out to
    several sessions, for projections with `key` or `parallel`. --stream and --tenant rebuild only their rows, for projections with `key` or
    `tenant_key`. A stream or tenant without events is refused, as is a table that numbers its rows itself, by an identity or serial column:
    the new rows would get the numbers of other streams' rows.

    --in-place is for projections whose statements cannot be led to new tables: it empties the old ones and fills them again, and readers
    see that. It asks first, unless --yes is given.

    A plugin with effects outside the database is handed every event again instead, where `rebuild_external` is set, which is asked about
    first too; nothing is exchanged, and of these options only --restart, --abort, --here, --yes and --json go with it. --workers, --stream
    and --tenant go with no plugin. --json prints how it ended, and the differences, for a script.
    """

  static let all: Option<Bool> = .flag("all", "Every shard of the settings file, one after the other.")
  static let interactive: Option<Bool> = .flag("interactive", short: "i", "Choose from a list on the terminal.")
  static let here: Option<Bool> = .flag("here", "Do the work in this process, while no node runs.")
  static let restart: Option<Bool> = .flag("restart", "Begin anew what is half done.")
  static let abort: Option<Bool> = .flag(
    "abort", "End a rebuild and remove its new tables; the old ones stay as they are.")
  static let yes: Option<Bool> = .flag("yes", "Do not ask back.")

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
        throw rebuildFailure(error)
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
          if !json { print(result.text) }
          if let failure = Self.failure(row) { failures.append((definition.shard, failure)) }
        }
      } catch let problem as RebuildProblem {
        // Of this one alone: the others can be done all the same.
        failures.append((definition.shard, CommandFailure(.failed, "\(problem)", hint: problem.hint)))
      } catch {
        if json, !results.isEmpty { print(try tidemark.json(results)) }
        throw rebuildFailure(error)
      }
    }
    if json { print(try tidemark.json(results)) }
    if definitions.count == 1, let failure = failures.first?.failure { throw failure }
    guard failures.isEmpty else {
      let list = failures.map { shard, failure in
        "  \(shard): \(failure.message)" + (failure.hint.map { "\n    hint: \($0)" } ?? "")
      }
      throw CommandFailure(
        .failed, "\(failures.count) of \(definitions.count) were not rebuilt\n" + list.joined(separator: "\n"))
    }
  }

  private static func failure(_ row: RebuildTable.Row) -> CommandFailure? {
    switch row.state {
    case .failed: CommandFailure(.failed, row.error ?? "the rebuild failed", hint: row.hint)
    case .aborted: CommandFailure(.failed, "the rebuild of \(row.shard) was ended by an operator")
    case .asked, .replaying, .compared, .done: nil
    }
  }

  private func chosen(_ settings: Settings) throws -> [ProjectionDefinition] {
    let (all, interactive, shards) = (line[Self.all], line[Self.interactive], line[ShardArguments.any])
    let ways = [all, interactive, !shards.isEmpty].count { $0 }
    guard ways == 1 else {
      throw CommandFailure(.usage, "expected names of shards, --all or -i\(ways == 0 ? "" : ", found several of them")")
    }
    guard all || interactive else { return try ShardArguments(settings: settings).definitions(shards) }
    var list: [ProjectionDefinition] = []
    for definition in settings.projections {
      if let reason = reasonAgainst(definition) {
        if all { printError("\(definition.shard) is left out: \(reason)") }
      } else {
        list.append(definition)
      }
    }
    return all ? list : try ask(list)
  }

  /// Why a projection is not among those to choose from; nil where it is.
  private func reasonAgainst(_ definition: ProjectionDefinition) -> String? {
    do throws(RebuildProblem) {
      let isWithout = try definition.rebuildKind() == .tables && definition.tables.isEmpty
      return isWithout ? "projection \(definition.name) does not say which tables it fills" : nil
    } catch {
      return error.message
    }
  }

  /// Asks until the answer is one that can be done.
  private func ask(_ list: [ProjectionDefinition]) throws -> [ProjectionDefinition] {
    guard isatty(STDIN_FILENO) == 1 else { throw CommandFailure(.usage, "-i needs a terminal") }
    for (index, projection) in list.enumerated() {
      printError("\(index + 1)  \(projection.shard)  \(projection.tables.joined(separator: ", "))")
    }
    while true {
      let words = (answer(to: "Which? Numbers with spaces between them: ") ?? "").split { $0 == " " || $0 == "," }
      if words.isEmpty { throw CommandFailure(.failed, "nothing was chosen, so nothing was changed") }
      let numbers = words.map { word in list.indices.first { "\($0 + 1)" == word } }
      guard let wrong = numbers.firstIndex(of: nil) else {
        // Each once, in the order they were named.
        return numbers.indices.filter { !numbers[..<$0].contains(numbers[$0]) }.map { list[numbers[$0]!] }
      }
      printError("expected numbers from 1 to \(list.count), found \"\(words[wrong])\"")
    }
  }

  /// Asks back where there is no way back.
  private func confirm(_ definitions: [ProjectionDefinition], _ request: RebuildTable.Request) throws {
    let replayed = definitions.filter { (try? $0.rebuildKind()) == .replay }
    if request.way == .inPlace {
      let tables = definitions.flatMap(\.tables).joined(separator: ", ")
      printError(
        """
        --in-place empties \(tables) now and fills them again from the first event. Until that is done, readers see rows missing and \
        values that are too old, and whatever refers to these rows must bear with their being gone. There is no way back.
        """)
    } else if !replayed.isEmpty {
      for definition in replayed {
        printError(
          """
          \(definition.shard): \(definition.plugin!.programName) is handed every event again, from the first to where the shard is, and \
          told that it is a rebuild. What it does outside the database it does again, unless it minds that; new events wait. \
          There is no way back.
          """)
      }
    } else {
      return
    }
    if line[Self.yes] { return }
    guard isatty(STDIN_FILENO) == 1 else {
      throw CommandFailure(
        .usage, "\(request.way == .inPlace ? "--in-place" : "this rebuild") needs --yes where nobody can be asked")
    }
    guard answer(to: "Go on? Type yes: ") == "yes" else { throw CommandFailure(.failed, "nothing was changed") }
  }

  private func end(_ definition: ProjectionDefinition, _ settings: Settings) async throws {
    let name = "\(definition.shard)"
    let hasEnded = try await withSession(settings) { session in
      try await RebuildDesk(by: operatorName(), byNode: false).abort(name, session)
    }
    print(
      !hasEnded
        ? "there is no rebuild of \(name) to end"
        : (try? definition.rebuildKind()) == .replay
          ? "the rebuild of \(name) is ended; what its plugin was handed stays handed over"
          : "the rebuild of \(name) is ended; its new tables are gone")
  }

  private func rebuild(
    _ definition: ProjectionDefinition, _ request: RebuildTable.Request, _ settings: Settings, _ watch: RebuildWatch
  ) async throws -> RebuildTable.Row {
    let here = line[Self.here]
    // From before the request is there: from then on an end of this command has to be told apart from an end of the rebuild.
    let stops = signals.listen(for: [SIGINT, SIGTERM], once: true)
    let interruption = Interruption()
    return try await withThrowingTaskGroup(of: RebuildTable.Row?.self) { group in
      group.addTask {
        let (shape, answer) = try await ask(for: definition, request, settings)
        interruption.words.withLock {
          $0 =
            here
            ? "interrupted; the same command goes on from here, --abort removes what was made"
            : "the rebuild goes on in the node; the same command watches it again, --abort ends it"
        }
        watch.say(answer, definition.shard)
        guard here else { return try await watch.untilEnded("\(definition.shard)", here: false) }
        return try await replay(definition, shape, settings, watch)
      }
      group.addTask {
        for await _ in stops { throw CommandFailure(.failed, interruption.words.withLock { $0 }) }
        return nil
      }
      defer { group.cancelAll() }
      while let row = try await group.next() {
        if let row { return row }
      }
      throw CancellationError()
    }
  }

  /// Writes down what is wanted, where somebody is there to do it.
  private func ask(
    for definition: ProjectionDefinition, _ request: RebuildTable.Request, _ settings: Settings
  ) async throws -> (StoreShape, RebuildDesk.Answer) {
    let (here, restart) = (line[Self.here], line[Self.restart])
    return try await withSession(settings) { session in
      let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
      try await SchemaPlan.refuseMissing(session, shape: shape)
      let nodes = try await Membership().live(session).map(\.name)
      if here, let node = nodes.first {
        throw CommandFailure(.failed, "\(node) follows this store", hint: "Leave --here out: that node does the work.")
      }
      if !here, nodes.isEmpty {
        throw CommandFailure(
          .failed, "no node follows this store that could do the work",
          hint: "Start the service, or say --here to do it in this process.")
      }
      let desk = RebuildDesk(by: operatorName(), byNode: !here)
      return (shape, try await desk.ask(request, for: definition, restart: restart, session))
    }
  }

  /// Does the work in this process, and shows it.
  private func replay(
    _ definition: ProjectionDefinition, _ shape: StoreShape, _ settings: Settings, _ watch: RebuildWatch
  ) async throws -> RebuildTable.Row {
    let runner = RebuildRunner(
      definition, shape: shape, options: ConnectionOptions(settings.database), workMemory: settings.database.workMemory,
      policy: { settings.rebuildPolicy }, node: nodeName(), observer: watch, database: settings.database.name ?? "main")
    return try await withThrowingTaskGroup(of: RebuildTable.Row?.self) { group in
      group.addTask {
        do {
          try await runner.run()
        } catch is RebuildProblem {
          // The row has it, or is somebody else's, whose work is watched.
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

/// What an interrupted command says, which depends on how far it has come.
private final class Interruption: Sendable {
  let words = Mutex("interrupted while the rebuild was asked for; the same command begins it, or goes on")
}

/// What exactly is rebuilt, and how it ends.
struct RebuildChoice {
  static let by: Option<By> = .value(
    "by", .choice("WAY"), default: .auto, "How the new tables take the old ones' place.")
  static let inPlace: Option<Bool> = .flag(
    "in-place", "Without new tables: empty the old ones and fill them again before the readers' eyes.")
  static let diff: Option<Bool> = .flag("diff", "Print what differs between old and new.")
  static let dryRun: Option<Bool> = .flag("dry-run", "With --diff: stop there, and leave the old tables in place.")
  static let to: Option<Int64?> = .value(
    "to", .integer("SEQUENCE", 0 ... .max, noun: "a sequence"),
    "End at this sequence rather than where the shard is, and let it go on from there.")
  static let workers: Option<Int> = .value(
    "workers", .integer("NUMBER", 1...64), default: 1, "Sessions to share the streams out to.")
  static let streams: Option<[String]> = .values("stream", .text("ID"), "Only the rows of this stream.")
  static let tenants: Option<[String]> = .values("tenant", .text("ID"), "Only the rows of this tenant.")

  static let options: [any DescribedOption] = [by, diff, dryRun, to, workers, streams, tenants, inPlace]

  enum By: String, CaseIterable { case auto, swap, copy }

  let line: ParsedLine

  func request() throws -> RebuildTable.Request {
    let (by, inPlace, diff, dryRun) = (line[Self.by], line[Self.inPlace], line[Self.diff], line[Self.dryRun])
    let (to, workers) = (line[Self.to], line[Self.workers])
    var request = RebuildTable.Request()
    request.way = inPlace ? .inPlace : WishedWay(rawValue: by.rawValue)!
    request.compares = diff
    request.exchanges = !dryRun
    request.upTo = to
    request.workers = workers
    request.streams = line[Self.streams].isEmpty ? nil : line[Self.streams]
    request.tenants = line[Self.tenants].isEmpty ? nil : line[Self.tenants]
    if dryRun, !diff { throw CommandFailure(.usage, "--dry-run goes with --diff") }
    if to != nil, request.isPartial {
      throw CommandFailure(
        .usage, "--to does not go with --stream or --tenant: the shard has one position for all rows")
    }
    if inPlace, by != .auto || diff || to != nil || workers > 1 || request.isPartial {
      throw CommandFailure(
        .usage, "--in-place does not go with --by, --diff, --to, --workers, --stream or --tenant: it has no new tables")
    }
    return request
  }
}

/// Who gives an order, for the row that holds it.
func operatorName() -> String {
  "\(environment["SUDO_USER"] ?? environment["USER"] ?? "an operator") on \(nodeName().prefix { $0 != "/" })"
}

private func rebuildFailure(_ error: any Error) -> any Error {
  if let problem = error as? RebuildProblem { return CommandFailure(.failed, "\(problem)", hint: problem.hint) }
  return commandFailure(error)
}
