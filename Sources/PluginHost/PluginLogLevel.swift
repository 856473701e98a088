import Plugins
import Telemetry

extension LogLevel {
  /// As a plugin says it.
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
