/// What a rebuild of a projection comes to, as far as its declaration tells.
package enum RebuildKind: Hashable, Sendable {
  /// New tables are filled beside the old ones, and take their place.
  case tables
  /// The plugin is handed every event again; what it did outside the database stands beside nothing, so nothing is exchanged.
  case replay
}

extension ProjectionDefinition {
  /// - Throws: ``Problem`` where it is not rebuilt. Whether its tables are declared, and there, is seen when they are looked up.
  package func rebuildKind() throws(Problem) -> RebuildKind {
    guard let plugin, plugin.effects == .external else { return .tables }
    guard plugin.runsInRebuild else {
      throw Problem(
        .rebuild(.plugin),
        "\(shard) has its effects outside the database, and rebuild_external is not set: what it did is not done again",
        hint: "Set rebuild_external = true if it may be handed every event again.")
    }
    return .replay
  }
}
