/// Tells whether two definitions are the same to a reload, to a rebuild and to a read model.
///
/// There is only one, so that the three cannot disagree: definitions that are equal to a reload are equal to a rebuild, and those that
/// are equal to a rebuild do the same with events. The place of a definition in its file matters to none of them, nor does its `setup`.
package struct Fingerprint: Sendable, Hashable {
  /// What the projection does with which events. Stored with the shard: rows made by another definition stay as they are until a rebuild.
  package let work: String
  /// What a rebuild depends on. Stored with the rebuild: one definition must not finish what another began.
  package let rebuild: String
  // What an agent depends on besides; it never leaves the process, so it need not be short.
  private let start: StartPosition
  private let onMismatch: OnMismatch
  private let plugin: PluginDefinition?

  /// The same two with the values of variables in `exec` and `config` in them, as programs before this one stored them.
  private let former: Stored

  private struct Stored: Sendable, Hashable {
    var work: String
    var rebuild: String
  }

  /// The texts that this computes must not change, since the database holds those of earlier programs: with another text every shard
  /// would seem changed, and every unfinished rebuild would start over.
  ///
  /// A plugin's variables count by their names: a secret that is rotated is no other work, and no hash that a viewer can read is made of
  /// it. In SQL their values count, since a table in another schema is another table.
  package init(of definition: ProjectionDefinition) {
    let shown = definition.plugin == nil ? definition.workText : definition.concealment.concealing(definition.workText)
    let now = Self.stored(definition, shown)
    work = now.work
    rebuild = now.rebuild
    former = Self.stored(definition, definition.workText)
    start = definition.start
    onMismatch = definition.onMismatch
    plugin = definition.plugin
  }

  /// Whether a rebuild that was recorded with this fingerprint may be finished.
  package func isOfRebuild(_ stored: String) -> Bool { [rebuild, former.rebuild].contains(stored) }

  /// Every fingerprint under which the database may have this work.
  package var works: [String] { work == former.work ? [work] : [work, former.work] }

  private static func stored(_ definition: ProjectionDefinition, _ workText: String) -> Stored {
    var work = workText
    if let events = definition.events { work += "\n\(events.sorted())" }
    var parts = [
      workText, definition.takes?.joined(separator: ",") ?? "all", definition.tables.joined(separator: ","),
      definition.onPoison.rawValue, definition.key ?? "", definition.tenantKey ?? "",
    ]
    parts.append("\(definition.isParallel)")
    if let plugin = definition.plugin { parts.append("\(plugin.rebuildsExternal)") }
    if definition.archived != .keep { parts.append("archived: \(definition.archived.rawValue)") }
    if !definition.acceptCompacted.isEmpty {
      parts.append("accepts compacted: \(definition.acceptCompacted.sorted().joined(separator: ","))")
    }
    return Stored(work: text(work), rebuild: text(parts.joined(separator: "\n")))
  }

  /// A hash of a text, in hexadecimal, to tell whether it has changed.
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
