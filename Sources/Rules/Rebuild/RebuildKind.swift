/// What a rebuild of a projection does, according to its declaration.
package enum RebuildKind: Hashable, Sendable {
  /// It fills new tables beside the old ones, which then replace them.
  case tables
  /// The plugin gets every event again. Its effects are outside the database, so there is nothing to exchange.
  case replay
}

extension ProjectionDefinition {
  /// - Throws: ``Problem`` if it cannot be rebuilt. The look-up of its tables checks later that they are declared and exist.
  package func rebuildKind() throws(Problem) -> RebuildKind {
    guard let plugin, plugin.effects == .external else { return .tables }
    guard plugin.runsInRebuild else {
      throw Problem(
        .rebuild(.plugin),
        "\(shard) has its effects outside the database, and rebuild_external is not set: a rebuild would repeat them",
        hint: "Set rebuild_external = true if the plugin may get every event again.")
    }
    return .replay
  }
}
