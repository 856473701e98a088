import ArgumentParser
import Daemon
import EventStore
import Logging
import ServiceLifecycle
import Settings
import Telemetry
import UnixSignals

struct Run: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Follow the event table and keep the read models up to date, until SIGTERM or Ctrl-C."
  )

  @OptionGroup var settings: SettingsOption

  func run() async throws {
    let settings = try settings.load()
    let level = settings.logLevel.loggerLevel
    LoggingSystem.bootstrap { _ in TerminalLogHandler(level: level) }
    let daemon = Daemon(settings: settings, version: tidemarkVersion, observer: LogObserver(Logger(label: "tidemark")))
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

/// Runs the daemon under a service group that answers SIGTERM and SIGINT, and gives up on a clean stop after `stopTimeout`.
func serve(_ daemon: Daemon, stopTimeout: Duration) async throws {
  var quiet = Logger(label: "service-group")
  quiet.logLevel = .critical
  var configuration = ServiceGroupConfiguration(
    services: [.init(service: daemon, successTerminationBehavior: .gracefullyShutdownGroup)],
    gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet)
  configuration.maximumGracefulShutdownDuration = stopTimeout
  try await ServiceGroup(configuration: configuration).run()
}
