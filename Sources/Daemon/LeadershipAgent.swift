import EventStore
import Postgres
import Projection
import ServiceLifecycle
import Telemetry

/// Decides which shards this node runs, together with the other nodes: by the advisory locks that its lock session holds.
///
/// Every node works out the same assignment from the nodes that live. A shard that moves away finishes its page before its lock is let
/// go; whoever should have it tries again at each turn. Between two turns the lock session is watched, so that its end is noticed the
/// moment it happens, and then everything that ran under its locks is cancelled.
struct LeadershipAgent: Service {
  var options: ConnectionOptions
  /// The store's schema, which is part of Marten's keys.
  var schema: String
  var node: String
  var version: String
  /// Off, a lost session is only noticed at the next turn.
  var isWatched: Bool
  var shards: ShardSet
  /// What is declared just now.
  var declared: @Sendable () async -> [ProjectionDefinition]
  var pulse: Pulse
  var observer: any Observer

  /// Between two looks at who lives: half of what a fail-over may take.
  static let turn = Duration.milliseconds(250)

  private var membership: Membership { Membership() }

  func run() async throws {
    var backoff = Backoff([.milliseconds(100), .milliseconds(250), .seconds(1), .seconds(5)])
    while !Task.isCancelled && !Task.isShuttingDownGracefully {
      do {
        let options = options
        let session = try await cancelWhenGracefulShutdown {
          try await Session.connect(options, threadName: "leadership")
        }
        do {
          try await checkIsDirect(session)
          try await membership.join(node, version: version, mode: "hotcold", session)
          backoff.reset()
          try await lead(session)
          // A clean end: pages are finished, then the locks go with the session.
          await shards.lead([], cancelling: false)
          try? await membership.leave(node, session)
          await session.close()
        } catch {
          await shards.lead([], cancelling: true)
          await session.close()
          throw error
        }
      } catch is CancellationError {
        if !Task.isShuttingDownGracefully { throw CancellationError() }
      } catch let problem as StoreProblem {
        throw problem
      } catch {
        let delay = backoff.next()
        let failure = (error as? PostgresError).map { Failure($0) } ?? Failure("\(error)")
        observer.observe(.leadershipLost(failure: failure, retryIn: delay))
        try? await cancelWhenGracefulShutdown { try await Task.sleep(for: delay) }
      }
    }
    await shards.lead([], cancelling: false)
  }

  /// A pooler in transaction mode gives each statement another session, and locks would stay behind in all of them.
  private func checkIsDirect(_ session: Session) async throws {
    let pid = try await session.execute("SELECT pg_backend_pid()").rows[0].get(0, as: Int.self)
    guard pid == Int(session.processID) else {
      throw StoreProblem(
        .pooledLocks, "the connection for leadership goes through a pooler: its session is not its own",
        hint: "Set database.lock_url to a direct connection; database.url may stay pooled.")
    }
  }

  private func lead(_ session: Session) async throws {
    var held: [ShardName: Int64] = [:]
    var known: [String] = []
    while !Task.isCancelled && !Task.isShuttingDownGracefully {
      pulse.beat()
      let nodes = try await membership.live(session).filter { $0.mode == "hotcold" }.map(\.name)
      if nodes != known { observer.observe(.nodesChanged(nodes)) }
      known = nodes
      let definitions = await declared()
      let leaders = Assignment.leaders(of: definitions.map { "\($0.shard)" }, among: nodes)
      let wanted = Set(definitions.map(\.shard).filter { leaders["\($0)"] == node })

      let leaving = held.keys.filter { !wanted.contains($0) }
      if !leaving.isEmpty {
        await shards.lead(definitions.filter { held[$0.shard] != nil && wanted.contains($0.shard) }, cancelling: false)
        for name in leaving.sorted() {
          try await membership.release(held.removeValue(forKey: name)!, session)
          observer.observe(.leadershipGiven(name))
        }
      }
      for name in wanted.subtracting(held.keys).sorted() {
        let key = LeaderLock.key(schema: schema, shard: "\(name)")
        if try await membership.lead(key, session) {
          held[name] = key
          observer.observe(.leadershipTaken(name))
        } else if let who = try await membership.holder(of: key, session) {
          observer.observe(.leadershipBlocked(name, by: who))
        }
      }
      await shards.lead(definitions.filter { held[$0.shard] != nil }, cancelling: false)
      try await pause(session)
    }
  }

  private func pause(_ session: Session) async throws {
    do {
      try await cancelWhenGracefulShutdown { [isWatched] in
        if isWatched {
          try await session.watch(for: Self.turn)
        } else {
          try await Task.sleep(for: Self.turn)
        }
      }
    } catch {
      if Task.isShuttingDownGracefully { return }
      throw error
    }
  }
}
