/// How long an operation may take before it is reported; it is reported again each time that has doubled.
package let reportAfter = Duration.seconds(10)

/// Runs the work, and reports when it takes long: a shard that waits for a lock must not look idle.
///
/// - Parameter report: is given how long the work has been running.
package func watched<T: Sendable>(
  _ report: @escaping @Sendable (Duration) async -> Void, _ work: @escaping @Sendable () async throws -> T
) async throws -> T {
  try await withThrowingTaskGroup(of: T?.self) { group in
    group.addTask { try await work() }
    group.addTask {
      var lasted = reportAfter
      while true {
        try await Task.sleep(for: lasted == reportAfter ? lasted : lasted / 2)
        await report(lasted)
        lasted *= 2
      }
    }
    defer { group.cancelAll() }
    while true {
      if let value = try await group.next(), let value { return value }
    }
  }
}
