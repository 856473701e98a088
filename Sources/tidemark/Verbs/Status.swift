import Books
import Operator
import Commands
import Daemon
import EventStore
@preconcurrency import Glibc
import Postgres
import Rules
import Settings
import Telemetry

struct Status {
  static let verb = Verb(
    "status", about: "Show the event store, the high-water mark, and the state of every shard.",
    discussion: """
      For every shard: its position, its lag behind the mark, its rate and its condition. Position and lag are as of now. AGE is the time
      since the shard's node wrote the rest, at most ten seconds; what is older is marked as stale, with the reason. A shard that a program
      other than Tidemark leads, like a host that runs a projection of the same name, has a line that names the session.
      """,
    options: SettingsOption.options + [watch, OutputOption.json],
    examples: [
      Example("tidemark status --watch", "Watch the shards move."),
      Example(
        "tidemark status --json | jq '.shards[] | select(.lag > 1000)'", "Find the shards that are far behind."),
    ]
  ) { try await Status(line: $0).run() }

  static let watch: Option<Bool> = .flag("watch", "Redraw every second until Ctrl-C.")

  let line: ParsedLine

  func run() async throws {
    let settings = try SettingsOption(line).load()
    let (watch, json) = (line[Self.watch], line[OutputOption.json])
    repeat {
      var reports: [StatusReport] = []
      var failure: CommandFailure?
      do {
        try await withEachSession(settings) { settings, session in
          let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
          var report = try await StatusReport.read(
            session, shape: shape, declared: settings.projections.map(\.shard),
            sharesLock: settings.database.name != nil)
          report.database = settings.database.name
          reports.append(report)
        }
      } catch let error as CommandFailure {
        failure = error
      }
      if json {
        if settings.namedDatabases.isEmpty {
          if let report = reports.first { printResult(try tidemark.json(report)) }
        } else {
          printResult(try tidemark.json(reports))
        }
      } else {
        let isRedrawn = watch && isatty(STDOUT_FILENO) == 1
        let text = reports.map(\.text).joined(separator: "\n\n")
        if isRedrawn { printRedrawn(text) } else { printResult(text) }
      }
      fflush(stdout)
      if let failure {
        // Keep watching an unreachable database, to show when it comes back.
        guard watch, failure.status == .unreachable else { throw failure }
        printError(failure.description)
      }
      if watch { try await Task.sleep(for: .seconds(1)) }
    } while watch
  }
}

extension StatusReport {
  /// For a terminal.
  var text: String {
    let store = store
    var lines = database.map { ["database \($0)"] } ?? []
    lines += [
      "high-water mark \(store.mark.map(grouped) ?? "none yet") of \(grouped(store.highest_sequence))"
        + " · \(store.events_are_estimated ? "about " : "")\(counted(store.events, "event"))"
        + " · \(counted(store.missing_numbers, "number")) without an event"
    ]
    var notes: [String] = []
    if let stands = store.mark_stands_for, stands >= 5 {
      notes.append(
        "the mark has not moved for \(Duration.seconds(stands).brief); if a daemon runs, its log says why")
    }
    if store.recorded_gaps > 0 { notes.append("\(counted(store.recorded_gaps, "gap")) skipped after gap_grace") }
    if store.late_arrivals > 0 { notes.append("\(counted(store.late_arrivals, "late arrival"))") }
    if store.dead_letters > 0 { notes.append("\(counted(store.dead_letters, "dead letter"))") }
    if !notes.isEmpty { lines.append(notes.joined(separator: " · ")) }
    for node in nodes {
      let leads = shards.count { $0.node == node.name && $0.condition != ShardState.ended.rawValue }
      notes.append(
        "\(printable(node.name)) (\(node.mode), \(counted(leads, "shard")), since \(node.since))")
    }
    if nodes.isEmpty, !shards.isEmpty {
      lines.append(
        "no node runs, or none can follow the store (its log says why); positions are as of now, conditions as they were"
      )
    }
    if !nodes.isEmpty { lines.append("nodes: " + notes.suffix(nodes.count).joined(separator: " · ")) }
    var table = TextTable([
      ("SHARD", .left), ("POSITION", .right), ("LAG", .right), ("RATE/S", .right), ("CONDITION", .left),
      ("SINCE", .left), ("AGE", .right), ("NODE", .left),
    ])
    for shard in shards {
      table.add([
        shard.name, shard.position.map(grouped) ?? "-", shard.lag.map(grouped) ?? "-", grouped(Int64(shard.rate)),
        shard.condition + (shard.stale == nil ? "" : " (stale)") + (shard.declared ? "" : " (not in the settings)"),
        shard.since ?? "-",
        shard.age.map { Duration.seconds($0).brief } ?? "-", shard.node ?? "-",
      ])
    }
    lines += ["", table.text]
    if !rebuilds.isEmpty { lines.append("") }
    for rebuild in rebuilds {
      let end = rebuild.target.map { " of \(grouped($0))" } ?? ""
      let error = rebuild.error.map { ": \(printable($0))" } ?? ""
      lines.append(
        "rebuild of \(printable(rebuild.shard)): \(rebuild.state), \(grouped(rebuild.position))\(end)\(error)")
    }
    let stale = shards.filter { $0.stale != nil }
    if !stale.isEmpty { lines.append("") }
    for shard in stale {
      let age = shard.age.map { " \(Duration.seconds($0).brief) old" } ?? " old"
      lines.append("\(printable(shard.name)): this is\(age): \(printable(shard.stale ?? ""))")
    }
    if !skipped.isEmpty { lines.append("") }
    for skipped in skipped {
      let range = skipped.first_sequence == skipped.last_sequence ? "" : " to \(grouped(skipped.last_sequence))"
      lines.append(
        "\(printable(skipped.shard)): \(counted(skipped.events, "event")) skipped, \(skipped.words) (sequence \(grouped(skipped.first_sequence))\(range))"
      )
    }
    let led = shards.filter { $0.other_leader != nil }
    if !led.isEmpty { lines.append("") }
    for shard in led {
      lines.append("\(printable(shard.name)): another program leads it: \(printable(shard.other_leader ?? ""))")
    }
    let reasons = shards.filter { $0.reason != nil }
    if !reasons.isEmpty { lines.append("") }
    for shard in reasons { lines.append("\(printable(shard.name)): \(printable(shard.reason ?? ""))") }
    return lines.joined(separator: "\n")
  }
}
