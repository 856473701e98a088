import ArgumentParser
import Daemon
import EventStore
@preconcurrency import Glibc
import Logging
import ServiceLifecycle
import Settings
import Systemd
import Telemetry
import UnixSignals

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
    LoggingSystem.bootstrap { _ in
      if Journal.isStandardError { JournalLogHandler() } else { TerminalLogHandler() }
    }
    let log = LogObserver(Logger(label: "tidemark"), level: settings.logLevel.loggerLevel)
    let daemon = Daemon(settings: settings, version: tidemarkVersion, observer: RepeatFilter(log), isAlone: !beside)
    let option = self.settings
    let hangups = await UnixSignalsSequence(trapping: .sighup)
    let reloading = Task {
      for await _ in hangups {
        let new = await daemon.reload { () throws(SettingsProblems) in
          try Settings.load(path: option.file, environment: environment)
        }
        if let new { log.level = new.logLevel.loggerLevel }
      }
    }
    defer { reloading.cancel() }
    do {
      try await serve(daemon, stopTimeout: settings.stopTimeout)
    } catch {
      throw commandFailure(error)
    }
  }
}

extension Settings.LogLevel {
  var loggerLevel: Logger.Level {
    switch self {
    case .debug: .debug
    case .info: .info
    case .notice: .notice
    case .warning: .warning
    case .error: .error
    }
  }
}

/// Runs the daemon until SIGTERM or SIGINT, and cancels its pages when a clean stop takes longer than `stopTimeout`.
func serve(_ daemon: Daemon, stopTimeout: Duration) async throws {
  var quiet = Logger(label: "service-group")
  quiet.logLevel = .critical
  var configuration = ServiceGroupConfiguration(
    services: [.init(service: daemon, successTerminationBehavior: .gracefullyShutdownGroup)], logger: quiet)
  configuration.maximumGracefulShutdownDuration = stopTimeout
  let group = ServiceGroup(configuration: configuration)
  // From here on no signal has its usual effect.
  let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
  let stopping = Task {
    var isSecond = false
    for await stop in signals {
      if isSecond {
        // As if nobody had caught it. The server rolls back what is open.
        let number = stop == .sigint ? SIGINT : SIGTERM
        signal(number, SIG_DFL)
        // The threads of the pool block signals, so it is sent to the process, which has one that does not or will be made to.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, number)
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        kill(getpid(), number)
      }
      isSecond = true
      await group.triggerGracefulShutdown()
    }
  }
  defer { stopping.cancel() }
  try await group.run()
}
