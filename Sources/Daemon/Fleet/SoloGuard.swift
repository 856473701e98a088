import Books
import Concurrency
import EventStore
import Postgres
import Rules
import Telemetry

/// Keeps a node that runs every shard from running beside another one, and lists it in `tidemark.node` while it is alive.
///
/// The session may be lost, and another node may start meanwhile. The guard reports that; the compare-and-swap of positions keeps the read
/// models right even then.
struct SoloGuard: Service {
  var locks: LockSessions
  /// The session that was opened before the node was ready; nil if the database was unreachable then.
  var first: Session?
  var shards: @Sendable () async -> [String]
  var troubles: TroubleBoard
  var observer: any Observer

  func run() async throws {
    var first = first
    var former: Int32?
    while !Stop.isDue {
      do {
        let session: Session
        if let opened = first {
          session = opened
        } else {
          session = try await troubles.doing(.presence) { [locks, shards, former] in
            try await locks.open(former: former, shards: await shards())
          }
        }
        first = nil
        former = session.processID
        try await session.closing(beKnown)
      } catch {
        if let problem = error as? Problem, problem.isOfStore { observer.observe(.otherNode(failure: problem)) }
        // The next try comes a moment later.
        await rest(for: .seconds(1))
      }
    }
  }

  /// Returns when the session ends or the daemon stops.
  private func beKnown(_ session: Session) async throws {
    do {
      while true {
        try await stoppable { try await session.watch(for: .seconds(60)) }
      }
    } catch {
      if Stop.current.isRequested { try? await Membership().leave(locks.node, session, timeout: .seconds(3)) }
      throw error
    }
  }
}
