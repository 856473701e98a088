import Operator
import Commands
import Daemon
import EventStore
@preconcurrency import Glibc
import Plugins
import Postgres
import Rules
import Settings
import Synchronization
import Telemetry

struct PluginVerb {
  static let verb = Verb("plugin", about: "Develop plugins.", groups: [VerbGroup("", [TryPlugin.verb])])
}

struct TryPlugin {
  static let verb = Verb(
    "try",
    about:
      "Run a plugin over a few real events and show its answers; no position moves, and no statement is applied.",
    discussion: """
      The plugin's effects outside the database are real. Write `--` before arguments of the plugin that begin with a dash. A command that
      ends in .so is loaded as a library. The exit status is 1 if the plugin fails or reports a failed event. See tidemark-plugin(7).
      """,
    options: SettingsOption.options + [from, limit, types, configText, timeout], arguments: [command],
    examples: [
      Example(
        "tidemark plugin try --from 812 --limit 5 -- /usr/lib/shop/mailer --verbose",
        "Show how a program handles five events.")
    ]
  ) { try await TryPlugin(line: $0).run() }

  static let command: Argument<[String]> = .some(
    .text("COMMAND", completion: .names([.plugins], orFiles: true)), "The plugin, and its arguments.")
  static let from: Option<Int64> = .value(
    "from", .integer("SEQUENCE", 1 ... .max, noun: "a sequence"), default: 1, "The sequence of the first event.")
  static let limit: Option<Int> = .value(
    "limit", .integer("NUMBER", 1...100_000), default: 10, "The most events to hand over.")
  static let types: Option<[String]> = .values("type", .text("TYPE"), "Only events of this type.")
  static let configText: Option<String?> = .value(
    "config-text", .text("TEXT"), "The text passed to a library when it is opened.")
  static let timeout: Option<Duration> = .value(
    "timeout", .duration(), default: .seconds(30),
    "The longest time for the plugin to become ready, and for one page, like 30s.")

  let line: ParsedLine

  func run() async throws {
    let settings = try SettingsOption(line).load()
    let command = line[Self.command]
    let types = line[Self.types]
    let isLibrary = command[0].hasSuffix(".so")
    let plugin = PluginDefinition(
      program: isLibrary ? .library(path: command[0], config: line[Self.configText] ?? "") : .exec(command),
      timeout: line[Self.timeout])
    let failures = Atomic<Int>(0)
    try await withSession(settings) { session in
      let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
      var trial = PluginTrial(shape: shape, plugin: plugin)
      if !types.isEmpty { trial.types = types }
      try await trial.run(from: line[Self.from], limit: line[Self.limit], session, observer: PrintingObserver()) {
        step in
        if case .answer(.failed, _) = step { failures.add(1, ordering: .relaxed) }
        printResult(Self.text(step))
      }
    }
    let count = failures.load(ordering: .relaxed)
    if count > 0 { throw CommandFailure(.failed, "\(counted(count, "event")) failed") }
  }

  private static func text(_ step: PluginTrial.Step) -> String {
    switch step {
    case .ready(let time): return "ready after \(time.brief)"
    case .page(let page, let events):
      return "page after \(page.floor) up to \(page.ceiling): \(counted(events, "event"))"
    case .answer(.applied(let ceiling, let statements), let time):
      return "applied up to \(ceiling) in \(time.brief)" + text(statements)
    case .answer(.failed(let failure), let time):
      return "failed at \(failure.sequence) (\(failure.kind.rawValue)) in \(time.brief): \(printable(failure.message))"
        + text(failure.statements)
    }
  }

  private static func text(_ statements: [PluginStatement]?) -> String {
    guard let statements, !statements.isEmpty else { return "" }
    return ", with \(counted(statements.count, "statement"))"
      + statements.map { statement in
        "\n  \(printable(statement.text))"
          + (statement.values.isEmpty
            ? "" : " <- " + statement.values.map { $0.map(printable) ?? "NULL" }.joined(separator: ", "))
      }.joined()
  }
}

/// Prints the plugin's log messages and standard error, and nothing else.
private struct PrintingObserver: Observer {
  func observe(_ observation: Observation, in database: String?) {
    switch observation.fact {
    case .pluginSaid: printResult("\(observation.level): \(printable(observation[.text] ?? ""))")
    case .pluginLinesDropped: printResult("(\(observation[.count] ?? 0) more lines)")
    default: break
    }
  }
}
