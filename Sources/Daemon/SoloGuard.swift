import EventStore
import Postgres
import ServiceLifecycle

/// Keeps a node that runs every shard from running beside another one, and makes it known for as long as it lives.
struct SoloGuard: Service {
  var options: ConnectionOptions
  var node: String
  var version: String

  /// A node that was killed is gone when the server has noticed, which takes this long at most on one host.
  static let patience = Duration.seconds(10)

  private var membership: Membership { Membership() }

  /// - Throws: ``StoreProblem`` where other nodes follow this store.
  func check() async throws {
    let session = try await Session.connect(options, threadName: "guard")
    let deadline = ContinuousClock.now + Self.patience
    try await session.closing { session in
      while true {
        let others = try await membership.live(session).filter { $0.name != node }
        if others.isEmpty { return }
        guard ContinuousClock.now < deadline else {
          throw StoreProblem(
            .otherNode,
            "another node follows this store: \(others.map { "\($0.name) (\($0.mode))" }.joined(separator: ", "))",
            hint: "Stop it, or set mode = \"hotcold\" on all nodes, or say `run --beside` where both are meant.")
        }
        try await cancelWhenGracefulShutdown { try await Task.sleep(for: .milliseconds(200)) }
      }
    }
  }

  func run() async throws {
    while !Task.isCancelled && !Task.isShuttingDownGracefully {
      do {
        let options = options
        let session = try await cancelWhenGracefulShutdown { try await Session.connect(options, threadName: "guard") }
        try await session.closing(beKnown)
      } catch {
        // The high-water agent reports a database that is away. Whatever failed, the next try comes a moment later.
        try? await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(1)) }
      }
    }
  }

  /// Until the session ends, or the daemon stops.
  private func beKnown(_ session: Session) async throws {
    try await membership.join(node, version: version, mode: "solo", session)
    do {
      while true {
        try await cancelWhenGracefulShutdown { try await session.watch(for: .seconds(60)) }
      }
    } catch {
      if Task.isShuttingDownGracefully { try? await membership.leave(node, session) }
      throw error
    }
  }
}
