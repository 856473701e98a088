import Concurrency
import EventStore
import Postgres
import Rules
import Telemetry

/// Finds where a shard begins: at its position, or, if it has none, where `start` says.
struct ShardStart: Sendable {
  let definition: ProjectionDefinition
  let positions: Positions
  let tables: TableCheck
  let key: String
  let observer: any Observer

  /// Reads the position; inserts the first one.
  ///
  /// - Throws: ``PageFailure`` if the shard cannot begin now.
  func position(pool: SessionPool, marks: MarkBoard) async throws -> Int64 {
    let found = try await watched(
      { lasted in
        observer.observe(
          .shardWaiting(
            definition.shard,
            reason:
              "its position row has been locked for \(lasted.brief), by the previous leader's last page or by another transaction"
          ))
      }, { try await begin(pool, at: nil) })
    if let found {
      try await watchedTables {
        try await pool.withSession(for: key, unlessStopped: true) { [tables, positions, key, observer] in
          try await tables.check(at: found.position, $0, observer)
          try await positions.adopt(found.position, of: key, $0)
        }
      }
      return told(found)
    }
    let first = try await firstPosition(pool: pool, marks: marks)
    return told(try await watchedTables { try await begin(pool, at: first) } ?? (first, 0))
  }

  /// Says so if the look at the tables takes long.
  private func watchedTables<T: Sendable>(_ look: @escaping @Sendable () async throws -> T) async throws -> T {
    try await watched(
      { lasted in
        observer.observe(
          .shardWaiting(
            definition.shard,
            reason: "its first look at its tables has lasted \(lasted.brief): another session holds a lock on one"))
      }, look)
  }

  /// No page is running yet, so a stop ends the wait for a locked position row.
  private func begin(
    _ pool: SessionPool, at first: Int64?
  ) async throws -> (position: Int64, removedLetters: Int)? {
    try await stoppable { [positions, tables, key] in
      try await pool.withSession(for: key) { session in
        try await positions.begin(key, at: first, session) {
          try await tables.claim(at: first ?? 0, $1, $0)
        }
      }
    }
  }

  private func told(_ found: (position: Int64, removedLetters: Int)) -> Int64 {
    if found.removedLetters > 0 {
      observer.observe(
        .deadLettersRemoved(definition.shard, position: found.position, count: found.removedLetters))
    }
    return found.position
  }

  private func firstPosition(pool: SessionPool, marks: MarkBoard) async throws -> Int64 {
    var rule = FirstPosition(ofNew: definition.start)
    var command = rule.begin()
    while true {
      switch command {
      case .begin(let position):
        let floor = try await pool.withSession(for: key, unlessStopped: true) { [positions, definition] in
          try await positions.floor(of: definition.name, $0)
        }
        return max(position, floor)
      case .readMark: command = rule.markRead(try await newestMark(marks))
      case .find(let time):
        let found = try await pool.withSession(for: key, unlessStopped: true) {
          try await positions.before(time: time, $0)
        }
        command = rule.found(found)
      case .awaitRest: command = rule.atRest(try await handedOutAtRest(pool, marks))
      case .recall, .refuse: preconditionFailure("only rebuilds ask for a recorded first position")
      }
    }
  }

  /// Returns the highest issued number, once no writer is left.
  private func handedOutAtRest(_ pool: SessionPool, _ marks: MarkBoard) async throws -> Int64 {
    let first = try await lookAtStore(pool)
    if first.writers.isEmpty { try await stoppable { try await Task.sleep(for: QuiescenceCheck.quiet) } }
    let mark = try await newestMark(marks)
    let second = try await lookAtStore(pool)
    try QuiescenceCheck.check(first, second, mark: mark)
    return second.highest
  }

  /// Reads the store's shape again: it may have been recreated while the shard waited for its writers.
  private func lookAtStore(_ pool: SessionPool) async throws -> QuiescenceCheck.Look {
    try await pool.withSession(for: key, unlessStopped: true) { [schema = positions.shape.schema] session in
      try await QuiescenceCheck(try await StoreShape.read(session, schema: schema)).look(session)
    }
  }

  /// Waits for a mark whose proof begins after now.
  private func newestMark(_ marks: MarkBoard) async throws -> Int64 {
    let now = ContinuousClock.now
    return try await stoppable { try await marks.mark { $0.provenAt >= now } }.sequence
  }
}
