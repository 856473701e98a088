import Concurrency
import Plugins
import Rules

/// How long the daemon waits for a plugin where no setting says so.
enum PluginPatience {
  /// For the answer to a page when the daemon stops. Without an answer the page is handed over again after the next start.
  static let afterStop = Duration.seconds(5)
  /// For a child to exit after the daemon closed its standard input.
  static let afterClose = Duration.seconds(2)
  /// The same, when the daemon stops before the child is ready.
  static let beforeReady = Duration.milliseconds(50)
  /// Between SIGTERM and SIGKILL.
  static let afterTerminate = Duration.seconds(2)

  /// Waits for a plugin, within a limit and not much beyond the stop of the daemon.
  ///
  /// - Parameter step: what the plugin must do, as in "the plugin did not report ready within 30 s".
  /// - Parameter afterStop: zero while the plugin has no page whose answer could be lost.
  static func wait<T: Sendable>(
    _ limit: Duration, to step: String, afterStop: Duration = afterStop,
    _ work: @escaping @Sendable () async throws -> T
  ) async throws -> T {
    try await withThrowingTaskGroup(of: T.self) { group in
      group.addTask { try await work() }
      group.addTask {
        try await Task.sleep(for: limit)
        throw Problem.silent(limit, didNot: step)
      }
      group.addTask {
        try await Stop.current.wait()
        if afterStop > .zero { try await Task.sleep(for: afterStop) }
        throw CancellationError()
      }
      defer { group.cancelAll() }
      return try await group.next()!
    }
  }
}
