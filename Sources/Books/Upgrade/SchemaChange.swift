import EventStore
package import Postgres
import Rules
import Synchronization

/// Why the schema could not be changed at once: another session holds a lock that a statement needs.
package struct SchemaWait: Sendable, CustomStringConvertible {
  /// Each blocking session; empty if they let go before they could be looked up.
  package var holders: [LockHolder]
  package var retryIn: Duration

  package var description: String {
    holders.isEmpty
      ? "a session that let go of it before it could be looked up" : holders.map(\.description).joined(separator: "; ")
  }

  /// Whether the same sessions block, whatever they run by now.
  package func isFor(_ other: SchemaWait) -> Bool { holders.map(\.processID) == other.holders.map(\.processID) }
}

extension SchemaPlan {
  /// Longest time that the first attempt, and any attempt, waits for a lock. All others who want the same lock wait that long too.
  private static let firstPatience = Duration.milliseconds(100)
  private static let longestPatience = Duration.seconds(1)
  /// Between two attempts, so that others can continue.
  private static let pause = Duration.seconds(1)

  /// Plans and runs every step in one transaction, all or none, and returns the plan that ran.
  ///
  /// Under a lock, so that of two nodes that start at once the second finds nothing left to do. It never waits in a queue for long: if
  /// a session blocks it, it rolls back, reports that session, and tries again.
  ///
  /// - Parameters:
  ///   - options: for the second session, which looks up the blocking ones.
  ///   - limit: after which it gives up; nil for never.
  ///   - waits: called before each pause, from the second attempt on, which is the first one watched.
  /// - Throws: ``Problem`` when it gives up.
  package static func apply(
    _ session: Session, _ options: ConnectionOptions, within limit: Duration?,
    waits: @Sendable (SchemaWait) async throws -> Void,
    planning: @escaping @Sendable (Session) async throws -> SchemaPlan
  ) async throws -> SchemaPlan {
    let began = ContinuousClock.now
    var patience = firstPatience
    do {
      return try await attempt(session, patience: patience, planning)
    } catch let error as PostgresError where error.isLockedOut {}
    return try await Session.connect(options, threadName: "schema").closing { watcher in
      while true {
        patience = min(patience * 2, longestPatience)
        let wait: SchemaWait
        switch try await watched(session, by: watcher, patience: patience, planning) {
        case .success(let plan): return plan
        case .failure(let hindered): wait = hindered
        }
        if let limit, ContinuousClock.now - began > limit {
          throw Problem(
            .store(.schemaBusy), "the schema could not be changed within \(Int(limit / .seconds(1))) s: \(wait)",
            hint: "Nothing changed. End that session, or its transaction, and try again.")
        }
        try await waits(wait)
        try await Task.sleep(for: wait.retryIn)
      }
    }
  }

  private static func attempt(
    _ session: Session, patience: Duration, _ planning: @escaping @Sendable (Session) async throws -> SchemaPlan
  ) async throws -> SchemaPlan {
    try await session.transaction { session in
      try await session.script("SET LOCAL lock_timeout = '\(Int(patience / .milliseconds(1)))ms'")
      try await session.execute("SELECT pg_advisory_xact_lock(\(AdvisoryLocks.schema))")
      let plan = try await planning(session)
      for step in plan.steps { try await session.script(step.statements) }
      return plan
    }
  }

  private enum Attempt: Sendable {
    case success(SchemaPlan)
    case failure(SchemaWait)
  }

  /// The blocking sessions at the last look.
  private final class Seen: Sendable {
    let holders = Mutex<[LockHolder]>([])
  }

  /// One attempt, while another session looks up the sessions that block it.
  private static func watched(
    _ session: Session, by watcher: Session, patience: Duration,
    _ planning: @escaping @Sendable (Session) async throws -> SchemaPlan
  ) async throws -> Attempt {
    let seen = Seen()
    return try await withThrowingTaskGroup(of: SchemaPlan?.self) { group in
      group.addTask { try await attempt(session, patience: patience, planning) }
      group.addTask {
        while !Task.isCancelled {
          let holders = try await LockHolder.blocking([session.processID], watcher)
          if !holders.isEmpty { seen.holders.withLock { $0 = holders } }
          try await Task.sleep(for: .milliseconds(20))
        }
        return nil
      }
      defer { group.cancelAll() }
      do {
        while let ended = try await group.next() { if let plan = ended { return .success(plan) } }
        throw CancellationError()
      } catch let error as PostgresError where error.isLockedOut {
        return .failure(SchemaWait(holders: seen.holders.withLock { $0 }, retryIn: pause))
      }
    }
  }
}

extension PostgresError {
  /// A lock could not be acquired.
  fileprivate var isLockedOut: Bool { [.lockNotAvailable, .deadlockDetected].contains(sqlState) }
}
