import ArgumentParser
import Daemon
import EventStore
@preconcurrency import Glibc
import Plugins
import Postgres
import Projection
import Settings
import Synchronization
import Telemetry

struct PluginVerb: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plugin", abstract: "Work on plugins.", subcommands: [TryPlugin.self])
}

struct TryPlugin: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "try",
    abstract:
      "Run a plugin over a few real events and show what it answers; no position moves, and no statement is applied.",
    discussion: """
      What it does outside the database it does. Arguments of the plugin that begin with a dash come after --:
        tidemark plugin try --from 812 --limit 5 -- /usr/lib/shop/mailer --verbose
      A command that ends in .so is loaded as a library. Exit status 1 when the plugin fails, or says that an event does.
      """)

  @OptionGroup var settings: SettingsOption

  @Argument(help: "The plugin, and its arguments.")
  var command: [String]

  @Option(help: "The sequence of the first event.")
  var from: Int64 = 1

  @Option(help: "How many events, at most.")
  var limit = 10

  @Option(name: .customLong("type"), help: "Only events of this type; may be repeated.")
  var types: [String] = []

  @Option(help: "What a library is opened with.")
  var configText = ""

  @Option(help: "Longest the plugin may take for its first word and for a page, like 30s.")
  var timeout = "30s"

  func validate() throws {
    guard !command.isEmpty else { throw ValidationError("expected a plugin to run") }
    guard from > 0 else { throw ValidationError("--from: expected a sequence from 1, found \(from)") }
    guard (1...100_000).contains(limit) else {
      throw ValidationError("--limit: expected a number from 1 to 100000, found \(limit)")
    }
    guard Duration(setting: timeout) != nil else {
      throw ValidationError("--timeout: expected a duration like 30s, found \"\(timeout)\"")
    }
  }

  func run() async throws {
    let settings = try settings.load()
    let isLibrary = command[0].hasSuffix(".so")
    let plugin = PluginDefinition(
      program: isLibrary ? .library(path: command[0], config: configText) : .exec(command),
      timeout: Duration(setting: timeout)!)
    let failures = Atomic<Int>(0)
    try await withSession(settings) { session in
      let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
      var trial = PluginTrial(shape: shape, plugin: plugin)
      if !types.isEmpty { trial.types = types }
      do {
        try await trial.run(from: from, limit: limit, session, observer: PrintingObserver()) { step in
          if case .answer(.failed, _) = step { failures.add(1, ordering: .relaxed) }
          print(Self.text(step))
        }
      } catch let problem as PluginProblem {
        throw CommandFailure(.failed, "\(problem.message) (\(problem.code.rawValue))", hint: problem.hint)
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
      return "failed at \(failure.sequence) (\(failure.kind.rawValue)) in \(time.brief): \(failure.message)"
        + text(failure.statements)
    }
  }

  private static func text(_ statements: [PluginStatement]?) -> String {
    guard let statements, !statements.isEmpty else { return "" }
    return ", with \(counted(statements.count, "statement"))"
      + statements.map { statement in
        "\n  \(statement.text)"
          + (statement.values.isEmpty ? "" : " <- " + statement.values.map { $0 ?? "NULL" }.joined(separator: ", "))
      }.joined()
  }
}

/// Prints what a plugin says, and nothing else.
private struct PrintingObserver: Observer {
  func observe(_ observation: Observation, in database: String?) {
    switch observation {
    case .pluginSaid(_, let level, let text): print("\(level): \(text)")
    case .pluginLinesDropped(_, let count): print("(\(count) more lines)")
    default: break
    }
  }
}
