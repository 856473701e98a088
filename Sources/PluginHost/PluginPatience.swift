import Concurrency
import Plugins
import Rules

/// How long things are waited for that have no setting.
enum PluginPatience {
  /// For the answer to a page that is under way when the daemon stops. Without an answer the page comes again after the next start.
  static let afterStop = Duration.seconds(5)
  /// For a child to end by itself when its standard input is closed.
  static let afterClose = Duration.seconds(2)
  /// The same, when the daemon stops before the child has said its first word.
  static let beforeReady = Duration.milliseconds(50)
  /// And then, when it was sent SIGTERM, before SIGKILL.
  static let afterTerminate = Duration.seconds(2)

  /// Runs what waits for a plugin, within a limit and not much beyond the stop of the daemon.
  ///
  /// - Parameter afterStop: zero where the plugin has no page yet, and nothing is lost with its answer.
  static func wait<T: Sendable>(
    _ limit: Duration, for what: String, afterStop: Duration = afterStop,
    _ work: @escaping @Sendable () async throws -> T
  ) async throws -> T {
    try await withThrowingTaskGroup(of: T.self) { group in
      group.addTask { try await work() }
      group.addTask {
        try await Task.sleep(for: limit)
        throw Problem.silent(limit, waitingFor: what)
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
