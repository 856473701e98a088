package import Books
package import EventStore
package import Postgres
package import Rules

/// The position and state of every shard, read from the database, so it is the same on every host.
package struct StatusReport: Sendable, Encodable {
  package struct Store: Sendable, Encodable {
    package var highest_sequence: Int64
    package var mark: Int64?
    /// Seconds since the mark last moved; nil while no number is above it.
    package var mark_stands_for: Double?
    package var events: Int64
    package var events_are_estimated: Bool
    package var missing_numbers: Int64
    package var recorded_gaps: Int64
    package var late_arrivals: Int64
    package var dead_letters: Int64
  }

  package struct Shard: Sendable, Encodable {
    package var name: String
    /// Nil before the shard first ran.
    package var position: Int64?
    package var lag: Int64?
    /// Sequences a second.
    package var rate: Double
    package var condition: String
    package var reason: String?
    package var since: String?
    package var node: String?
    /// Seconds since its node wrote condition, reason and rate; nil if none has.
    package var age: Double?
    /// Why condition, reason and rate may no longer be true; nil if they are as of now.
    package var stale: String?
    /// The program that leads the shard if it is none of our nodes, in words.
    package var other_leader: String?
    /// False for a shard that has a position but is not in the settings file.
    package var declared: Bool
  }

  /// A rebuild that is running or unfinished.
  package struct Rebuild: Sendable, Encodable {
    package var shard: String
    package var state: String
    package var position: Int64
    package var target: Int64?
    package var node: String?
    package var error: String?
  }

  /// The name of the database if there are several; nil if there is only one.
  package var database: String?
  package var store: Store
  package var nodes: [Membership.Node]
  package var shards: [Shard]
  package var rebuilds: [Rebuild]
  /// Events that pages continued without, other than dead letters.
  package var skipped: [SkippedEvents]

  /// - Parameter sharesLock: whether one leader's lock covers all shards of the database.
  package static func read(
    _ session: Session, shape: StoreShape, declared: [ShardName], sharesLock: Bool = false
  ) async throws -> StatusReport {
    let statistics = try await Statistics.read(session, shape: shape)
    let positions = try await Positions(shape).all(session)
    let health = try await ShardTable().all(session)
    let names = Set(declared.map { "\($0)" })
    let mark = statistics.mark
    let nodes = try await Membership().live(session)
    let live = Set(nodes.map(\.name))
    let leaders = try await ForeignLeaders(shape, shareOneLock: sharesLock).find(names.sorted(), session)
    let shards = names.union(health.keys).sorted().map { name in
      let position = positions[name]
      let row = health[name]
      return Shard(
        name: name, position: position, lag: position.flatMap { at in mark.map { max(0, $0 - at) } },
        rate: row?.rate ?? 0, condition: row?.condition ?? ShardState.neverRun.rawValue, reason: row?.reason,
        since: row?.since,
        node: row?.node, age: row?.age.map { ($0 / .seconds(1)).rounded() },
        stale: row.flatMap { Staleness.reason($0, liveNodes: live) },
        other_leader: leaders[name],
        declared: names.contains(name))
    }
    return StatusReport(
      store: Store(
        highest_sequence: statistics.highestSequence, mark: mark,
        mark_stands_for: statistics.markStandsFor.map { ($0 / .seconds(1)).rounded() }, events: statistics.events,
        events_are_estimated: statistics.eventsAreEstimated, missing_numbers: statistics.missingNumbers,
        recorded_gaps: statistics.recordedGaps, late_arrivals: statistics.lateArrivals,
        dead_letters: statistics.deadLetters),
      nodes: nodes, shards: shards,
      rebuilds: try await RebuildTable().all(session).filter { $0.state.isOpen || $0.isHalfDone }.map {
        Rebuild(
          shard: $0.shard, state: $0.state.rawValue, position: $0.position, target: $0.target, node: $0.node,
          error: $0.error)
      }, skipped: try await SkippedEvents.all(session))
  }
}
