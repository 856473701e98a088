package import Books
import ReadModels
import Daemon
package import Postgres
package import Rules

/// Takes operators' requests for rebuilds: decides whether an unfinished rebuild continues, starts over, or conflicts with the request.
package struct RebuildRequests: Sendable {
  package var by: String
  /// Whether the leader of the shard runs the rebuild, and not the command.
  package var byNode: Bool

  package init(by: String, byNode: Bool) {
    self.by = by
    self.byNode = byNode
  }

  package enum Answer: Sendable, Hashable {
    case begun
    /// The unfinished rebuild continues at this position.
    case resumed(at: Int64)
    /// The unfinished rebuild used another definition, so it was discarded.
    case startedOver
    /// The same rebuild is running already.
    case joined
  }

  private var table: RebuildTable { RebuildTable() }

  /// - Throws: ``Problem`` if the projection cannot be rebuilt as requested, or if another rebuild of the shard is running or unfinished.
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

  /// The request, with streams and tenants spelled as in the store: both rows and events are selected by these exact texts.
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

  /// Takes the lock of the rebuild. Retries for 5 s while no rebuild is open: a session that has ended one releases the lock a moment
  /// later, and one that only requests, at once.
  private func lock(_ shard: String, _ session: Session) async throws -> Bool {
    let deadline = ContinuousClock.now + .seconds(5)
    while try await !RebuildLock.take(shard, session) {
      let isOpen = try await table.read(shard, session)?.state.isOpen ?? false
      if isOpen || ContinuousClock.now >= deadline { return false }
      try await Task.sleep(for: .milliseconds(20))
    }
    return true
  }

  /// Whether the row is the requested rebuild, running or about to start.
  private func isSame(
    _ row: RebuildTable.Row, _ request: RebuildTable.Request, _ definition: ProjectionDefinition
  ) -> Bool {
    row.request == request && definition.fingerprint.isOfRebuild(row.fingerprint) && !row.isAborting && row.state.isOpen
  }

  private func underWay(_ definition: ProjectionDefinition) -> Problem {
    Problem(
      .rebuild(.underWay), "another rebuild of \(definition.shard) is running",
      hint: "Watch it by running `tidemark rebuild \(definition.name)` with the same options, or end it with --abort.")
  }

  /// Called with the lock held, so no session works on the rebuild.
  private func decide(
    _ shard: String, _ request: RebuildTable.Request, _ definition: ProjectionDefinition, _ restart: Bool,
    _ session: Session
  ) async throws -> Answer {
    let fingerprint = definition.fingerprint.rebuild
    guard let row = try await table.read(shard, session) else {
      try await table.ask(request, shard: shard, fingerprint: fingerprint, byNode: byNode, by: by, session)
      return .begun
    }
    // Another operator requested it first; a node will pick it up in a moment.
    if row.state == .asked, row.byNode, byNode, !restart, definition.fingerprint.isOfRebuild(row.fingerprint) {
      guard isSame(row, request, definition) else { throw underWay(definition) }
      return .joined
    }
    let isOther = !definition.fingerprint.isOfRebuild(row.fingerprint)
    if row.isHalfDone, !restart, !isOther, !row.isAborting {
      let isSame =
        row.request.workers == request.workers && row.request.upTo == request.upTo
        && row.request.streams == request.streams && row.request.tenants == request.tenants
        && (row.request.way == .inPlace) == (request.way == .inPlace)
      guard isSame else {
        throw Problem(
          .rebuild(.otherRequest), "a rebuild of \(row.shard) with other options is unfinished, at \(row.position)",
          hint: "Use the same options to continue it, --restart to start over, or --abort to discard it.")
      }
      try await table.askAgain(row.id, request, byNode: byNode, by: by, session)
      return .resumed(at: row.position)
    }
    if row.schema != nil { try await ShadowTables.remove(row, as: .aborted, session) }
    try await table.ask(request, shard: row.shard, fingerprint: fingerprint, byNode: byNode, by: by, session)
    return row.isHalfDone && isOther && !restart ? .startedOver : .begun
  }

  /// Ends a rebuild without an exchange. Returns false if there is no rebuild to end.
  package func abort(_ shard: String, _ session: Session) async throws -> Bool {
    guard let row = try await table.read(shard, session) else { return false }
    guard row.state.isOpen || row.isHalfDone else { return false }
    if row.chosenWay == .inPlace {
      throw Problem(
        .rebuild(.underWay),
        "\(shard) is being rebuilt in place: its read model was emptied, so there are no old rows to keep",
        hint: "Let the rebuild finish. The shard then continues from its position on its own.")
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
          .rebuild(.underWay),
          "\(row.node ?? "the node") has not ended the rebuild of \(shard) within 30 s\(now.error.map { ": \($0)" } ?? "")",
          hint: "The request stays in effect. For details see the log of \(row.node ?? "the node").")
      }
      try await Task.sleep(for: .milliseconds(50))
    }
    return true
  }
}
