package import Plugins
package import Telemetry

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

extension Failure {
  /// A plugin's problem as the log shows it.
  package init(_ problem: PluginProblem) {
    self.init(
      problem.message.shortened(to: 300), hint: problem.hint?.shortened(to: 300), sqlState: problem.code.rawValue)
  }
}
