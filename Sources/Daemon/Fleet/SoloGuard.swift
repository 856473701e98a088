import Books
import Concurrency
import EventStore
import Postgres
import Rules
import Telemetry

/// Keeps a node that runs every shard from running beside another one, and makes it known for as long as it lives.
///
/// Its session is lost now and then, and somebody may come in meanwhile. That is reported; the compare-and-swap of positions keeps the
/// read models right all the same.
struct SoloGuard: Service {
  var locks: LockSessions
  /// The session that was opened before the node was ready; nil where the database was away just then.
  var first: Session?
  var shards: @Sendable () async -> [String]
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
          session = try await locks.open(former: former, shards: await shards())
        }
        first = nil
        former = session.processID
        try await session.closing(beKnown)
      } catch {
        if let problem = error as? Problem, problem.isOfStore { observer.observe(.otherNode(failure: problem)) }
        // The high-water agent reports a database that is away. Whatever failed, the next try comes a moment later.
        await rest(for: .seconds(1))
      }
    }
  }

  /// Until the session ends, or the daemon stops.
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
