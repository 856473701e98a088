import Books
import Concurrency
import EventStore
import Postgres
import Rules
import Telemetry

/// Decides which shards this node runs, together with the other nodes: by the advisory locks that its lock session holds.
///
/// It performs what the rule ``Leadership`` decides. Between two turns it watches the lock session, so that it notices its end at once and
/// cancels everything that ran under its locks.
struct LeadershipAgent: Service {
  var locks: LockSessions
  /// The session that was opened before the node was ready; nil if the database was unreachable then.
  var first: Session?
  var scope: LockScope
  /// If false, the agent notices a lost session only at the next turn.
  var isWatched: Bool
  var shards: ShardSet
  /// The current declarations.
  var declared: @Sendable () async -> [ProjectionDefinition]
  /// The mark that the shards follow.
  var marks: MarkBoard
  var pulse: Pulse
  var observer: any Observer

  /// The time between two reads of the live nodes.
  static let turn = Duration.milliseconds(100)
  /// A turn that takes longer than this will never finish: the network drops the packets to the server.
  static let longestTurn = Duration.seconds(15)

  private var membership: Membership { Membership() }

  func run() async throws {
    var reattempt = Reattempt()
    var first = first
    var former: Int32?
    while !Stop.isDue {
      pulse.beat("leadership")
      do {
        let session: Session
        if let opened = first {
          session = opened
        } else {
          session = try await locks.open(former: former, shards: await declared().names)
        }
        first = nil
        former = session.processID
        var rule = Leadership(node: locks.node)
        do {
          reattempt.reset()
          try await lead(session, &rule)
          await session.close()
        } catch {
          await shards.lead([], cancelling: true)
          await session.close()
          let definitions = await declared()
          for name in rule.held.sorted() { given(name, definitions, cause: "the session that held its lock was lost") }
          throw error
        }
      } catch let error where error is CancellationError || (error as? PostgresError)?.isCancelled == true {
        if !Stop.current.isRequested { throw CancellationError() }
      } catch {
        let delay = reattempt.next(after: Problem(of: error))
        observer.observe(.leadershipLost(failure: Problem(of: error), retryIn: delay))
        await rest(for: delay)
      }
    }
    await shards.lead([], cancelling: false)
  }

  /// Takes turns until the session ends or the node stops.
  private func lead(_ session: Session, _ rule: inout Leadership) async throws {
    let backend = try await PoolerCheck.backend(session)
    var blocks = BlockedLocks()
    var sight = LeaderSight(at: .now)
    var pause: Duration?
    while let view = try await look(session, after: pause) {
      pause = Self.turn
      pulse.beat("leadership")
      guard view.processID == backend else { throw LockSessions.pooled }
      guard let known = view.nodes[locks.node] else { throw Problem("this node is no longer in tidemark.node") }
      if sight.look(hasMark: await marks.current != nil, at: .now) {
        observer.observe(.leadershipWaived(after: LeaderSight.longestBlindness))
      }
      let definitions = sight.isBlind ? [] : await declared()
      if known != Set(definitions.names) { try await membership.declare(definitions.names, of: locks.node, session) }
      var others = view.nodes
      others[locks.node] = nil
      let turn = rule.turn(
        own: scope.own(definitions), others: scope.others(others, definitions),
        running: scope.running(await shards.running()))
      let wanted = scope.here(turn.take)

      if turn.news != nil { observer.observe(.nodesChanged(rule.nodes)) }
      await shards.declare(scope.led(definitions, rule))
      try await membership.release(turn.release.keys.map(scope.key), session)
      for (name, cause) in turn.release.sorted(by: { $0.key < $1.key }) { given(name, definitions, cause: cause) }
      let free = try await membership.lead(wanted.map(scope.key), session)
      for name in wanted where free.contains(scope.key(name)) {
        let cause = rule.took(name)
        for shard in scope.shards(of: name, definitions) { observer.observe(.leadershipTaken(shard, cause: cause)) }
      }
      if !free.isEmpty { await shards.declare(scope.led(definitions, rule)) }
      for name in blocks.due(wanted.filter { !free.contains(scope.key($0)) }, at: .now) {
        if let who = try await LockHolder.ofAdvisoryLock(scope.key(name), session) {
          for shard in scope.shards(of: name, definitions) {
            observer.observe(.leadershipBlocked(shard, by: who.description))
          }
        }
      }
    }
    try await part(session, &rule)
  }

  /// Reads the live nodes after a pause; returns nil when the node stops.
  private func look(_ session: Session, after pause: Duration?) async throws -> Membership.View? {
    guard !Stop.current.isRequested else { return nil }
    do {
      return try await stoppable { [isWatched, membership, locks] in
        if let pause {
          if isWatched { try await session.watch(for: pause) } else { try await Task.sleep(for: pause) }
        }
        return try await membership.view(of: locks.node, timeout: Self.longestTurn, session)
      }
    } catch {
      if Stop.current.isRequested, session.isOpen { return nil }
      throw error
    }
  }

  /// Leaves when the node stops: from then on other nodes may try for the locks, and this one releases each when its shard has finished its
  /// page.
  private func part(_ session: Session, _ rule: inout Leadership) async throws {
    try await membership.leave(locks.node, session, timeout: .seconds(3))
    await shards.declare([])
    while true {
      let running = await shards.running()
      let ended = rule.part(running: scope.running(running))
      try await membership.release(ended.map(scope.key), session)
      let definitions = await declared()
      for name in ended { given(name, definitions, cause: "this node stops") }
      if running.isEmpty { return }
      try await session.watch(for: .milliseconds(20))
    }
  }

  private func given(_ name: ShardName, _ definitions: [ProjectionDefinition], cause: String) {
    for shard in scope.shards(of: name, definitions) { observer.observe(.leadershipGiven(shard, cause: cause)) }
  }
}

extension [ProjectionDefinition] {
  /// The names of the shards.
  var names: [String] { map { "\($0.shard)" } }
}
