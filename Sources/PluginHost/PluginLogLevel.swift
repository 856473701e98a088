import Plugins
import Telemetry

extension LogLevel {
  /// The level of an entry that a plugin logs.
  init(_ level: PluginLogLevel) {
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
