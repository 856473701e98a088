import Rules

/// Runs the work, and reports if it takes long: a shard that waits for a lock must not look idle.
///
/// - Parameter report: called with the time the work has been running, after ten seconds and each time that has doubled.
func watched<T: Sendable>(
  _ report: @escaping @Sendable (Duration) async -> Void, _ work: @escaping @Sendable () async throws -> T
) async throws -> T {
  try await withThrowingTaskGroup(of: T?.self) { group in
    group.addTask { try await work() }
    group.addTask {
      let began = ContinuousClock.now
      var moments = Doubling(from: .seconds(10))
      while true {
        let lasted = moments.next()
        try await Task.sleep(until: began + lasted)
        await report(lasted)
      }
    }
    defer { group.cancelAll() }
    while true {
      if let value = try await group.next(), let value { return value }
    }
  }
}
