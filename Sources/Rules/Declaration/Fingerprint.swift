/// What a definition amounts to: tells whether two definitions are the same, to a reload, to a rebuild and to a read model.
///
/// There is one, so that they cannot disagree: definitions that are equal to a reload are equal to a rebuild, and those that are equal to
/// a rebuild do the same with events. Where in its file a definition stands matters to none of them, nor does what sets up its tables.
package struct Fingerprint: Sendable, Hashable {
  /// What is done with which events. Kept with the shard: rows that were made in another way stay as they are until a rebuild.
  package let work: String
  /// What a rebuild goes by. Kept with the rebuild: what was half made by one definition must not be finished by another.
  package let rebuild: String
  // What else an agent goes by; it lives in one process, so it need not be short.
  private let start: StartPosition
  private let plugin: PluginDefinition?

  /// - Parameter definition: the texts that are made of it here stay as they are, since the database holds what earlier programs made of
  ///   theirs: with another text every shard would seem changed, and every rebuild under way would begin anew.
  package init(of definition: ProjectionDefinition) {
    work = Self.text(definition.workText + (definition.events.map { "\n\($0.sorted())" } ?? ""))
    rebuild = Self.text(
      [
        definition.workText, definition.takes?.joined(separator: ",") ?? "all",
        definition.tables.joined(separator: ","), definition.onPoison.rawValue, definition.key ?? "",
        definition.tenantKey ?? "", "\(definition.isParallel)",
      ].joined(separator: "\n") + (definition.plugin.map { "\n\($0.rebuildsExternal)" } ?? ""))
    start = definition.start
    plugin = definition.plugin
  }

  /// Tells whether a text has changed, in hexadecimal.
  package static func text(_ text: String) -> String {
    let digits = String(stableHash(text.utf8), radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

/// FNV-1a, 64 bits: the same in every process and release.
package func stableHash(_ bytes: some Sequence<UInt8>) -> UInt64 {
  bytes.reduce(into: 0xcbf2_9ce4_8422_2325) { hash, byte in
    hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
  }
}

extension ProjectionDefinition {
  package var fingerprint: Fingerprint { Fingerprint(of: self) }
}
