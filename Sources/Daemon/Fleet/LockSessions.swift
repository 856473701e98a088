import Books
import Concurrency
import EventStore
import Postgres
import Rules
import Telemetry

/// Opens the session whose locks say that a node lives, and what it leads: one that is its own, that the server gives up soon, and that
/// nobody who excludes this node is beside.
struct LockSessions: Sendable {
  var options: ConnectionOptions
  var node: String
  var version: String
  var mode: String
  var exclusivity: Membership.Exclusivity

  /// A node that was killed is gone when the server has noticed, and one that stops when its pages are done.
  static let patience = Duration.seconds(10)

  private var membership: Membership { Membership() }

  /// - Returns: nil where the database has just gone away; whoever needs the session tries again.
  func openFirst(shards: [String]) async throws -> Session? {
    do {
      return try await open(former: nil, shards: shards)
    } catch let error as PostgresError where error.isConnectionLoss {
      return nil
    } catch let error as PostgresError where error.isCancelled {
      throw CancellationError()
    }
  }

  /// - Parameters:
  ///   - former: the server's process of the session before this one, which the server may not have given up yet.
  ///   - shards: those in this node's settings.
  /// - Throws: ``Problem`` where the session is not its own, or another node is in the way for longer than ``patience``.
  func open(former: Int32?, shards: [String]) async throws -> Session {
    let options = options
    let session = try await stoppable { try await Session.connect(options, threadName: "locks") }
    do {
      try await stoppable {
        if try await PoolerCheck(options: options).isShared(session) { throw Self.pooled }
        try await (exclusivity == .shared ? SessionBounds.leadership : .work).apply(to: session)
        if let former { try await membership.endFormer(former, of: node, session) }
        try await patiently(
          { try await membership.enter(exclusivity, session) },
          otherwise: {
            let others = try await membership.live(session).filter { $0.name != node }
              .map { "\($0.name) (\($0.mode))" }
            return Problem(
              .store(.otherNode),
              "another node follows this store: \(others.isEmpty ? "it has just ended" : others.joined(separator: ", "))",
              hint: "Stop it, or set mode = \"hotcold\" on all nodes, or say `run --beside` where both are meant.")
          })
        try await patiently(
          { try await membership.join(node, version: version, mode: mode, shards: shards, session) },
          otherwise: {
            let who = try await membership.holderOfName(node, session)
            return Problem(
              .store(.otherNode), "another process is known as the node \(node): \(who ?? "it has just ended")",
              hint: "A node is named after its host and its process: give the containers different host names.")
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
    "the connection for locks goes through a pooler in transaction mode: its backend changes between two statements",
    hint: "Set database.lock_url to a direct connection.")
}
