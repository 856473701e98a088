import Operator
import Books
import Daemon
import FoundationEssentials
@preconcurrency import Glibc
import Postgres
import Rules
import Settings
import Synchronization
import Telemetry

/// Shows the progress of a rebuild, from its row in the database: as a bar on a terminal, as occasional lines
/// elsewhere.
final class RebuildWatch: Observer {
  private let settings: Settings
  private let isQuiet: Bool
  private let isTerminal = isatty(STDERR_FILENO) == 1
  private let hasBar = Mutex(false)

  init(settings: Settings, isQuiet: Bool) {
    self.settings = settings
    self.isQuiet = isQuiet
  }

  /// The time between two reads of the row.
  static let cadence = Duration.milliseconds(100)
  /// The time between two lines if there is no terminal.
  static let lineEvery = Duration.seconds(10)
  /// How long to wait for a node before saying so; normally a node starts a rebuild within a second.
  static let takeUpLimit = Duration.seconds(10)

  func say(_ answer: RebuildRequests.Answer, _ shard: ShardName) {
    switch answer {
    case .begun: line("\(shard): started")
    case .resumed(let position): line("\(shard): continues at \(grouped(position))")
    case .startedOver: line("\(shard): started over, as the definition has changed since the unfinished rebuild")
    case .joined: line("\(shard): already running")
    }
  }

  /// Follows the row until the rebuild has ended one way or another, and returns it.
  ///
  /// - Parameter here: whether this process does the work, and so prints its failures itself.
  func untilEnded(_ shard: String, here: Bool) async throws -> RebuildTable.Row {
    let began = ContinuousClock.now
    var lastLine = began
    var first: (position: Int64, at: ContinuousClock.Instant)?
    var hasWarned = false
    var trouble: String?
    while true {
      do {
        let session = try await Session.connect(ConnectionOptions(settings.database), threadName: "watch")
        let row = try await session.closing { session in
          while true {
            guard let row = try await RebuildTable().read(shard, session) else {
              throw Problem(.rebuild(.aborted), "the rebuild of \(shard) was forgotten")
            }
            guard row.state.isOpen else { return row }
            let now = ContinuousClock.now
            if row.state == .asked, !hasWarned, now - began > Self.takeUpLimit {
              hasWarned = true
              line("\(shard): no node has started it yet; check with `tidemark status` that a node runs the shard")
            }
            if row.error != trouble, !here {
              trouble = row.error
              if let trouble { line("\(shard): a page failed; trying again: \(trouble)") }
            }
            if row.state != .asked, first == nil { first = (row.position, now) }
            let rate = first.map { Double(row.position - $0.position) / max(0.001, (now - $0.at) / .seconds(1)) } ?? 0
            if isTerminal {
              bar(row, rate)
            } else if now - lastLine > Self.lineEvery {
              lastLine = now
              line(Self.words(row, rate))
            }
            try await Task.sleep(for: Self.cadence)
          }
        }
        endBar()
        return row
      } catch let error as PostgresError where error.isConnectionLoss {
        // The rebuild survives a restart of the server, and so does the watching.
        line("\(shard): the database is unreachable: \(error.message)")
        try await Task.sleep(for: .seconds(1))
      }
    }
  }

  /// Prints observations of the work in this process, except those that the bar shows already.
  func observe(_ observation: Observation, in database: String?) {
    guard let words = words(observation) else { return }
    line((observation.shard.map { "\($0): " } ?? "") + words)
  }

  private func words(_ observation: Observation) -> String? {
    let failure = observation.failure?.description ?? ""
    return switch observation.fact {
    case .rebuildWaiting: "waiting: \(observation[.reason] ?? "")"
    case .pageNarrowed: "trying fewer events at once: \(failure)"
    case .rebuildHindered: "exchange delayed: \(observation[.reason] ?? "")"
    case .rebuildRetrying: "trying again in \((observation[.retryIn] ?? .zero).brief): \(failure)"
    case .pluginSaid: "\(observation.level): \(observation[.text] ?? "")"
    case .deadLetter: "skipped event \(observation[.sequence] ?? 0): \(failure)"
    case .databaseUnreachable: "the database is unreachable: \(failure)"
    default: nil
    }
  }

  static func words(_ row: RebuildTable.Row, _ rate: Double) -> String {
    let target = row.target ?? 0
    var text = "\(row.shard): \(grouped(row.position)) of \(grouped(target))"
    if target > 0 { text += " (\(min(100, row.position * 100 / target)) %)" }
    if rate >= 1 {
      text += ", \(grouped(Int64(rate))) per second"
      if target > row.position { text += ", \(Duration.seconds(Double(target - row.position) / rate).brief) left" }
    }
    return text
  }

  private func bar(_ row: RebuildTable.Row, _ rate: Double) {
    guard !isQuiet else { return }
    let share = row.target.map { $0 > 0 ? min(1, Double(row.position) / Double($0)) : 0 } ?? 0
    let full = Int(share * 24)
    let bar = String(repeating: "━", count: full) + String(repeating: "─", count: 24 - full)
    drawBar("\(bar) \(Self.words(row, rate))")
    hasBar.withLock { $0 = true }
  }

  private func endBar() {
    if hasBar.withLock({ has in
      defer { has = false }; return has
    }) {
      drawBar("")
    }
  }

  private func line(_ text: String) {
    guard !isQuiet else { return }
    endBar()
    printNote(printable(text))
  }
}

/// The result of a rebuild, for people and for scripts.
struct RebuildResult: Encodable {
  struct Table: Codable {
    struct Example: Codable {
      var old: JSONValue?
      var new: JSONValue?
    }

    var table: String
    /// Numbers of rows.
    var old: Int64
    var new: Int64
    var only_old: Int64
    var only_new: Int64
    var changed: Int64
    var examples: [Example]
  }

  var shard: String
  var state: String
  var way: String?
  var reason: String?
  var position: Int64
  var seconds: Double?
  var error: String?
  var hint: String?
  var tables: [Table]?

  init(_ row: RebuildTable.Row) throws {
    shard = row.shard
    state = row.state.rawValue
    way = row.chosenWay?.rawValue
    reason = row.wayReason
    position = row.position
    seconds = row.seconds.map { ($0 * 1000).rounded() / 1000 }
    error = row.error
    hint = row.hint
    tables = try row.comparison.map { try JSONDecoder().decode([Table].self, from: Data($0.utf8)) }
  }

  var text: String {
    var lines: [String] = []
    for table in tables ?? [] {
      lines.append(
        "\(table.table): \(grouped(table.old)) old rows, \(grouped(table.new)) new; \(grouped(table.only_old)) only in the old table, "
          + "\(grouped(table.only_new)) only in the new, \(grouped(table.changed)) changed")
      for example in table.examples {
        if let old = example.old { lines.append("  - \(old.text)") }
        if let new = example.new { lines.append("  + \(new.text)") }
      }
    }
    let took = seconds.map { " in \(Duration.seconds($0).brief)" } ?? ""
    switch state {
    case "done" where way == "replay":
      lines.append("\(shard): every event up to \(grouped(position)) was handed to the plugin again\(took)")
    case "done": lines.append("\(shard): rebuilt up to \(grouped(position))\(took), by \(way ?? "") (\(reason ?? ""))")
    case "compared":
      lines.append(
        "\(shard): compared at \(grouped(position))\(took); nothing was exchanged. Run `tidemark rebuild` to exchange, or with --abort to remove the new tables"
      )
    default: lines.append("\(shard): \(state) at \(grouped(position))")
    }
    return lines.joined(separator: "\n")
  }
}
