package import EventStore
package import Postgres

/// Waits until shards have applied all events that were appended before the wait began.
package struct CatchUp: Sendable {
  package struct Late: Sendable, Hashable {
    package var shard: String
    package var position: Int64?
    package var target: Int64
  }

  package var shards: [String]
  package var timeout: Duration

  package init(shards: [String], timeout: Duration) {
    self.shards = shards
    self.timeout = timeout
  }

  /// Returns the shards that are still behind when the timeout expires; none if all caught up.
  package func run(_ session: Session, shape: StoreShape) async throws -> [Late] {
    let deadline = ContinuousClock.now + timeout
    let numbers = try await HighWaterReads(shape).numbers(session)
    let target = max(numbers.handedOut, numbers.highestVisible)
    while true {
      let positions = try await Positions(shape).all(session)
      let late = shards.filter { positions[$0] ?? -1 < target }
      if late.isEmpty || ContinuousClock.now >= deadline {
        return late.map { Late(shard: $0, position: positions[$0], target: target) }
      }
      try await Task.sleep(for: .milliseconds(10))
    }
  }
}
