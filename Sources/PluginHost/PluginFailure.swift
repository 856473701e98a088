package import Plugins
package import Telemetry

extension Failure {
  /// A plugin's problem as the log shows it.
  package init(_ problem: PluginProblem) {
    self.init(
      problem.message.shortened(to: 300), hint: problem.hint?.shortened(to: 300), sqlState: problem.code.rawValue)
  }
}
