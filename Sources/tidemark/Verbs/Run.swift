import Commands
import Concurrency
import Daemon
@preconcurrency import Glibc
import Settings
import Systemd
import Telemetry

struct Run {
  static let verb = Verb(
    "run", about: "Follow the event table and keep the read models up to date, until SIGTERM or Ctrl-C.",
    discussion: """
      SIGTERM and SIGINT let every shard finish the page it is in; a second one ends at once.

      SIGHUP reads the settings again: shards that were added, removed or changed follow, all others are not touched, and settings with
      problems change nothing.

      With mode = "solo" it refuses to run where another node follows the same store, unless --beside is given.
      """,
    options: [SettingsOption.config, SettingsOption.database.hidden, beside]
  ) { try await Run(line: $0).run() }

  static let beside: Option<Bool> = .flag(
    "beside", "With mode = \"solo\": run although another node follows the same store.")

  /// The first read of this begins to listen.
  static let stops = signals.listen(for: [SIGTERM, SIGINT], once: true)

  let line: ParsedLine

  func run() async throws {
    let option = SettingsOption(line)
    guard option.database == nil else {
      throw CommandFailure(.usage, "--database does not go with `run`, which follows every database of the settings")
    }
    let settings = try option.load()
    let log = LogObserver(
      Journal.isStandardError ? JournalLog() : TerminalLog(), level: LogLevel(settings.logLevel))
    let daemon = Daemon(
      settings: settings, version: tidemarkVersion, observer: Observers([RepeatFilter(log)]),
      isAlone: !line[Self.beside])
    let hangups = signals.listen(for: [SIGHUP])
    let reloading = Task {
      for await _ in hangups {
        let new = await daemon.reload { () throws(SettingsProblems) in
          try Settings.load(path: option.file, environment: environment)
        }
        if let new { log.level = LogLevel(new.logLevel) }
      }
    }
    defer { reloading.cancel() }
    do {
      try await serve(daemon, patience: settings.stopTimeout, stops: Self.stops)
    } catch {
      throw commandFailure(error)
    }
  }
}

extension LogLevel {
  init(_ level: Settings.LogLevel) {
    self =
      switch level {
      case .debug: .debug
      case .info: .info
      case .notice: .notice
      case .warning: .warning
      case .error: .error
      }
  }
}

/// Runs a service until SIGTERM or SIGINT, and cancels what it does when it takes longer than `patience` to end. A second signal ends
/// the process at once, with its usual effect: the server rolls back what is open.
func serve(
  _ service: any Service, patience: Duration? = nil,
  stops: AsyncStream<Int32> = signals.listen(for: [SIGTERM, SIGINT], once: true)
) async throws {
  let run = ServiceRun(service, patience: patience)
  let stopping = Task { for await _ in stops { run.end() } }
  defer { stopping.cancel() }
  try await run.run()
}
