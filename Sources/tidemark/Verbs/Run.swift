import CLinux
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
      On SIGTERM or SIGINT every shard finishes its current page; a second signal ends the daemon at once.

      On SIGHUP the daemon reads the settings again. It starts, stops or restarts shards that were added, removed or changed, and leaves all
      others running. If the settings have problems, nothing changes.

      With mode = "solo" the daemon refuses to run if another node follows the same store, unless --beside is given.
      """,
    options: [SettingsOption.config, SettingsOption.database.hidden, beside]
  ) { try await Run(line: $0).run() }

  static let beside: Option<Bool> = .flag(
    "beside", "With mode = \"solo\": run even if another node follows the same store.")

  /// Listening begins with the first access.
  static let stop = signals.stop(for: [SIGTERM, SIGINT])
  /// How long after stop_timeout the daemon may still be there: what was cancelled has five seconds on the server, and systemd waits ten.
  static let grace = Duration.seconds(8)
  /// The log of this process, for its last words.
  static let log = QueuedLog(Journal.isStandardError ? JournalLog() : TerminalLog())

  let line: ParsedLine

  func run() async throws {
    let option = SettingsOption(line)
    guard option.database == nil else {
      throw CommandFailure(
        .usage, "--database cannot be combined with `run`, which follows every database of the settings")
    }
    let settings = try option.load()
    signals.limitStop(to: settings.stopTimeout + Self.grace)
    let log = LogObserver(Self.log, level: LogLevel(settings.logLevel))
    log.showsValues = settings.logsValues
    let needed = DescriptorNeed.of(settings)
    // With some to spare: the runtime looks at its threads through files, and a process that has none left cannot go on.
    let limit = tidemark_descriptors(needed + 1_024)
    if limit < needed { log.observe(.descriptorsShort(limit: limit, needed: needed)) }
    for warning in FileWarnings.all(settings) { log.observe(.fileExposed(failure: warning)) }
    let daemon = Daemon(
      settings: settings, version: tidemarkVersion, observer: Observers([RepeatFilter(log)]),
      isAlone: !line[Self.beside])
    let hangups = signals.listen(for: [SIGHUP])
    let reloading = Task {
      for await _ in hangups {
        let new = await daemon.reload { () throws(SettingsProblems) in
          try Settings.load(path: option.file, environment: environment)
        }
        guard let new else { continue }
        log.level = LogLevel(new.logLevel)
        log.showsValues = new.logsValues
        for warning in FileWarnings.all(new) { log.observe(.fileExposed(failure: warning)) }
      }
    }
    defer {
      reloading.cancel()
      Self.log.drain()
    }
    do {
      try await serve(daemon, patience: settings.stopTimeout, stop: Self.stop)
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

/// Runs a service until SIGTERM or SIGINT, and cancels it if it takes longer than `patience` to end. A second signal
/// has its default effect and ends the process at once; the server then rolls back open transactions.
func serve(
  _ service: any Service, patience: Duration? = nil, stop: Stop = signals.stop(for: [SIGTERM, SIGINT])
) async throws {
  try await ServiceRun(service, under: stop, patience: patience).run()
}
