import ArgumentParser
import Concurrency
import Daemon
import EventStore
@preconcurrency import Glibc
import Settings
import Systemd
import Telemetry

struct Run: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Follow the event table and keep the read models up to date, until SIGTERM or Ctrl-C.",
    discussion: """
      SIGHUP reads the settings again: shards that were added, removed or changed follow, all others are not touched. SIGTERM and
      SIGINT let every shard finish its page; a second one ends at once.
      """)

  @OptionGroup var settings: SettingsOption

  @Flag(help: "With mode = \"solo\": run although another node follows the same store.")
  var beside = false

  func run() async throws {
    guard settings.database == nil else {
      throw CommandFailure(.usage, "--database does not go with `run`, which follows every database of the settings")
    }
    let settings = try settings.load()
    let log = LogObserver(
      Journal.isStandardError ? JournalLog() : TerminalLog(), level: LogLevel(settings.logLevel))
    let daemon = Daemon(settings: settings, version: tidemarkVersion, observer: RepeatFilter(log), isAlone: !beside)
    let option = self.settings
    let hangups = signals.listen(for: SIGHUP)
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
      try await serve(daemon, patience: settings.stopTimeout)
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
/// the process at once, as if nobody had held it: the server rolls back what is open.
func serve(_ service: any Service, patience: Duration? = nil) async throws {
  let run = ServiceRun(service, patience: patience)
  let stops = signals.listen(for: SIGTERM, SIGINT)
  let stopping = Task {
    var isSecond = false
    for await number in stops {
      if isSecond {
        signal(number, SIG_DFL)
        Signals.obey(number)
      }
      isSecond = true
      run.end()
    }
  }
  defer { stopping.cancel() }
  try await run.run()
}
