import Books
import Concurrency
import EventStore
import Postgres
import Rules
import Telemetry

/// Opens lock sessions. The locks of such a session show that the node is alive, and which shards it leads. The node shares the session
/// with no pooler, the server ends it soon after the node is cut off, and it opens only if no node excludes this one.
struct LockSessions: Sendable {
  var options: ConnectionOptions
  var node: String
  var version: String
  var mode: String
  var exclusivity: Membership.Exclusivity

  /// How long to wait for another node to go: the server takes a moment to notice a killed node, and one that stops finishes its pages.
  static let patience = Duration.seconds(10)

  private var membership: Membership { Membership() }

  /// - Returns: nil if the database is unreachable; the agent that needs the session tries again.
  func openFirst(shards: [String]) async throws -> Session? {
    do {
      return try await open(former: nil, shards: shards)
    } catch let error as PostgresError where error.isCancelled {
      throw CancellationError()
    } catch let error as PostgresError where error.mayPass {
      return nil
    }
  }

  /// - Parameters:
  ///   - former: the server process of the previous session, which the server may not have ended yet.
  ///   - shards: the shards in this node's settings.
  /// - Throws: ``Problem`` if a pooler shares the session, or another node excludes this one for longer than ``patience``.
  func open(former: Int32?, shards: [String]) async throws -> Session {
    let options = options
    let session = try await stoppable {
      try await PoolerCheck(options: options).connect(threadName: "locks", orThrow: Self.pooled)
    }
    do {
      try await stoppable {
        try await SessionBounds.applyUnlimited(exclusivity == .shared ? .leadership : .work, to: session)
        if let former { try await membership.endFormer(former, of: node, session) }
        try await patiently(
          { try await membership.enter(exclusivity, session) },
          otherwise: {
            let others = try await membership.live(session).filter { $0.name != node }
              .map { "\($0.name) (\($0.mode))" }
            if others.isEmpty, let holder = try await membership.holderOfExclusivity(session) {
              return Problem(
                .store(.otherNode), "a session that is no node holds the lock of this store's nodes: \(holder)",
                hint:
                  "End it: SELECT pg_terminate_backend(\(holder.processID)). Any role that may connect can take the lock."
              )
            }
            return Problem(
              .store(.otherNode),
              others.isEmpty
                ? "another node was following this store and has just stopped; try again"
                : "another node follows this store: \(others.joined(separator: ", "))",
              hint: "Stop it, or set mode = \"hotcold\" on all nodes, or use `run --beside` to run both.")
          })
        try await patiently(
          { try await membership.join(node, version: version, mode: mode, shards: shards, session) },
          otherwise: {
            let who = try await membership.holderOfName(node, session)
            return Problem(
              .store(.otherNode),
              who.map { "another process uses the node name \(node): \($0)" }
                ?? "another process used the node name \(node) and has just stopped; try again",
              hint: "A node's name is its host and process: give the containers different host names.")
          })
      }
      return session
    } catch {
      await session.close()
      throw error
    }
  }

  private func patiently(
    _ attempt: () async throws -> Bool, otherwise problem: () async throws -> Problem
  ) async throws {
    let deadline = ContinuousClock.now + Self.patience
    while try await !attempt() {
      guard ContinuousClock.now < deadline else { throw try await problem() }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  static let pooled = Problem(
    .store(.pooled),
    "the connection for locks leads to a pooler in transaction mode: its backend changes between two statements",
    hint: "Set database.lock_url to a direct connection.")
}
