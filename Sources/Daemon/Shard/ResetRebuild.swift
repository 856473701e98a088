import Books
import EventStore
import Postgres
import Rules

/// Requests the rebuild by which an operator would end the wait of a shard whose rows are of an era that is over: for `on_reset = "rebuild"`.
struct ResetRebuild: Sendable {
  let definition: ProjectionDefinition
  let shape: StoreShape

  init(_ definition: ProjectionDefinition, shape: StoreShape) {
    self.definition = definition
    self.shape = shape
  }

  /// Does nothing if the shard waits for another reason, if it has no tables to fill again, or if a rebuild is unfinished: whoever
  /// requested that one decides.
  func request(_ session: Session) async throws {
    let shard = "\(definition.shard)"
    guard try definition.rebuildKind() == .tables, !definition.tables.isEmpty,
      case .stale = try await Positions(shape).look(shard, session)
    else { return }
    let table = RebuildTable()
    if let row = try await table.read(shard, session), row.state.isOpen || row.state == .failed || row.isHalfDone {
      return
    }
    try await table.ask(
      RebuildTable.Request(), shard: shard, fingerprint: definition.fingerprint.rebuild, byNode: true, by: "on_reset",
      session)
  }
}
