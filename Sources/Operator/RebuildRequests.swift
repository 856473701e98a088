package import Books
import ReadModels
import Daemon
package import Postgres
package import Rules

/// Where operators ask for rebuilds: decides whether one that is half done goes on, begins anew, or is in the way.
package struct RebuildRequests: Sendable {
  package var by: String
  /// Whether the node that leads the shard is to do it.
  package var byNode: Bool

  package init(by: String, byNode: Bool) {
    self.by = by
    self.byNode = byNode
  }

  package enum Answer: Sendable, Hashable {
    case begun
    /// What was half done goes on from this position.
    case resumed(at: Int64)
    /// What was half done was made with another definition, so it was removed.
    case begunAnew
    /// The same one is under way already.
    case joined
  }

  private var table: RebuildTable { RebuildTable() }

  /// - Throws: ``Problem`` where the projection is not rebuilt like that, or another rebuild of the shard is under way, or half done.
  package func ask(
    _ request: RebuildTable.Request, for definition: ProjectionDefinition, restart: Bool, _ session: Session
  ) async throws -> Answer {
    let shard = "\(definition.shard)"
    try RebuildFilter.check(request, definition)
    let request = try await known(request, session)
    guard try await lock(shard, session) else {
      let row = try await table.read(shard, session)
      if let row, !restart, isSame(row, request, definition) { return .joined }
      throw underWay(definition)
    }
    do {
      let answer = try await decide(shard, request, definition, restart, session)
      try await RebuildLock.release(shard, session)
      return answer
    } catch {
      if session.isOpen { try await RebuildLock.release(shard, session) }
      throw error
    }
  }

  /// The same, with the streams and tenants as the store has them: rows are chosen by the one and events by the other, to the letter.
  private func known(_ request: RebuildTable.Request, _ session: Session) async throws -> RebuildTable.Request {
    func list(_ sql: SQL) async throws -> [String] {
      try await session.execute(sql).rows.map { try $0.get(0, as: String.self) }
    }
    var known = request
    do {
      if let streams = request.streams {
        known.streams = try await list("SELECT s FROM unnest(tidemark_internal.known_streams(\(streams))) AS s")
      }
      if let tenants = request.tenants {
        known.tenants = try await list("SELECT t FROM unnest(tidemark_internal.known_tenants(\(tenants))) AS t")
      }
    } catch let error as PostgresError where error.sqlState?.code == RaisedCode.unknownPart.rawValue {
      throw Problem(.rebuild(.unknownPart), error.message, hint: error.hint)
    }
    return known
  }

  /// Whoever has ended one lets go of it a moment later, and whoever only asks at once.
  private func lock(_ shard: String, _ session: Session) async throws -> Bool {
    let deadline = ContinuousClock.now + .seconds(5)
    while try await !RebuildLock.take(shard, session) {
      let isOpen = try await table.read(shard, session)?.state.isOpen ?? false
      if isOpen || ContinuousClock.now >= deadline { return false }
      try await Task.sleep(for: .milliseconds(20))
    }
    return true
  }

  /// Whether what is asked for is under way, or about to be.
  private func isSame(
    _ row: RebuildTable.Row, _ request: RebuildTable.Request, _ definition: ProjectionDefinition
  ) -> Bool {
    row.request == request && row.fingerprint == definition.fingerprint.rebuild && !row.isAborting && row.state.isOpen
  }

  private func underWay(_ definition: ProjectionDefinition) -> Problem {
    Problem(
      .rebuild(.underWay), "another rebuild of \(definition.shard) is under way",
      hint: "Watch it with `tidemark rebuild \(definition.name)` and the same options, or end it with --abort.")
  }

  /// With the lock held: nobody works on it.
  private func decide(
    _ shard: String, _ request: RebuildTable.Request, _ definition: ProjectionDefinition, _ restart: Bool,
    _ session: Session
  ) async throws -> Answer {
    let fingerprint = definition.fingerprint.rebuild
    guard let row = try await table.read(shard, session) else {
      try await table.ask(request, shard: shard, fingerprint: fingerprint, byNode: byNode, by: by, session)
      return .begun
    }
    // Another operator was first, and a node will take it up in a moment.
    if row.state == .asked, row.byNode, byNode, !restart, row.fingerprint == fingerprint {
      guard isSame(row, request, definition) else { throw underWay(definition) }
      return .joined
    }
    let isOther = row.fingerprint != fingerprint
    if row.isHalfDone, !restart, !isOther {
      let isSame =
        row.request.workers == request.workers && row.request.upTo == request.upTo
        && row.request.streams == request.streams && row.request.tenants == request.tenants
        && (row.request.way == .inPlace) == (request.way == .inPlace)
      guard isSame else {
        throw Problem(
          .rebuild(.otherRequest), "a rebuild of \(row.shard) with other options is half done, at \(row.position)",
          hint: "Say the same options to go on with it, --restart to begin anew, or --abort to remove it.")
      }
      try await table.askAgain(row.id, request, byNode: byNode, by: by, session)
      return .resumed(at: row.position)
    }
    if row.schema != nil { try await ShadowTables.remove(row, as: .aborted, session) }
    try await table.ask(request, shard: row.shard, fingerprint: fingerprint, byNode: byNode, by: by, session)
    return row.isHalfDone && isOther && !restart ? .begunAnew : .begun
  }

  /// Ends a rebuild without an exchange. Returns false where there is none to end.
  package func abort(_ shard: String, _ session: Session) async throws -> Bool {
    guard let row = try await table.read(shard, session) else { return false }
    guard row.state.isOpen || row.isHalfDone else { return false }
    if row.chosenWay == .inPlace {
      throw Problem(
        .rebuild(.underWay),
        "\(shard) is rebuilt in place: its read model was emptied, and there is nothing to go back to",
        hint: "Let it end; the shard goes on by itself from where it is.")
    }
    if try await RebuildLock.take(shard, session) {
      try await ShadowTables.remove(row, as: .aborted, session)
      try await RebuildLock.release(shard, session)
      return true
    }
    try await table.askToAbort(row.id, byNode: row.byNode, session)
    let deadline = ContinuousClock.now + .seconds(30)
    while let now = try await table.read(shard, session), now.id == row.id, now.isAborting {
      guard ContinuousClock.now < deadline else {
        throw Problem(
          .rebuild(.underWay), "whoever works on the rebuild of \(shard) has not ended it within 30 s",
          hint: "The request stays. The log of \(row.node ?? "the node") says more.")
      }
      try await Task.sleep(for: .milliseconds(50))
    }
    return true
  }
}
