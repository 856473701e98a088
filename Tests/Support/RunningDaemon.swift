package import Books
package import Operator
import Concurrency
package import Daemon
import EventStore
import Foundation
import Postgres
import Rules
package import Settings
import Synchronization
package import Telemetry
package import Testing

/// Runs a daemon around the body of a test, and stops it cleanly afterwards. One that does not stop in time fails the test.
package func withDaemon<T: Sendable>(
  _ settings: Settings, node: String = "test", schema: Schema = .current,
  _ body: @Sendable (RunningDaemon) async throws -> T
) async throws -> T {
  let recorder = ObservationRecorder()
  let daemon = Daemon(settings: settings, version: "test", node: node, observer: recorder, schema: schema)
  let run = ServiceRun(daemon)
  let ended = Stop()
  return try await withThrowingTaskGroup(of: Void.self) { tasks in
    tasks.addTask {
      defer { ended.request() }
      try await run.run()
    }
    do {
      let result = try await body(RunningDaemon(settings: settings, daemon: daemon, observed: recorder))
      run.end()
      try await eventually("the end of the daemon") { ended.isRequested }
      try await tasks.waitForAll()
      return result
    } catch {
      run.end()
      _ = await tasks.nextResult()
      throw error
    }
  }
}

package struct RunningDaemon: Sendable {
  package let settings: Settings
  package let daemon: Daemon
  package let observed: ObservationRecorder

  /// Waits until every shard, or those named, has applied what was appended before the call.
  package func caughtUp(_ shards: [String]? = nil, within limit: Duration = .seconds(120)) async throws {
    let session = try await Session.connect(ConnectionOptions(settings.database), threadName: "test")
    let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
    let names = shards ?? settings.projections.map { "\($0.shard)" }
    let late = try await CatchUp(shards: names, timeout: limit).run(session, shape: shape)
    await session.close()
    if !late.isEmpty { throw NotCaughtUp(late: late, observed: observed.all.suffix(5).map { "\($0)" }) }
  }

  package struct NotCaughtUp: Error {
    package var late: [CatchUp.Late]
    package var observed: [String]
  }
}

extension Observation {
  /// Itself, where it is of one of these facts: `$0.when(.shardStopped)?.failure`.
  package func when(_ facts: Fact...) -> Self? { facts.contains(fact) ? self : nil }
}

/// Keeps every observation, for tests to wait on.
package final class ObservationRecorder: Observer {
  private let observations = Mutex<[Observation]>([])

  package init() {}

  package func observe(_ observation: Observation, in database: String?) {
    observations.withLock { $0.append(observation) }
  }

  package var all: [Observation] { observations.withLock { $0 } }

  /// The first observation that the pattern takes, now or within the limit.
  package func first<T>(
    within limit: Duration = .seconds(30), _ what: String, sourceLocation: Testing.SourceLocation = #_sourceLocation,
    _ pattern: (Observation) -> T?
  ) async throws -> T {
    var found: T?
    try await eventually(within: limit, what, sourceLocation: sourceLocation) {
      found = all.lazy.compactMap(pattern).first
      return found != nil
    }
    return found!
  }
}

extension RunningDaemon {
  /// Waits until the high-water agent has looked this many times more.
  package func ticked(times: Int) async throws {
    for _ in 0..<times {
      let now = ContinuousClock.now
      _ = try await daemon.marks.mark { $0.provenAt > now }
    }
  }
}
