/// The name of a shard, as Marten writes it: `Trip:All`, and `Trip:V2:All` from version 2 on.
///
/// It is the key of the shard's row in the progression table, so compare it in full and never by prefix.
package struct ShardName: Hashable, Sendable, Comparable, CustomStringConvertible {
  package let projection: String
  package let version: Int

  package init(projection: String, version: Int = 1) {
    self.projection = projection
    self.version = version
  }

  /// A name from the progression; nil for one that is not a shard's.
  package init?(parsing text: String) {
    var parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count >= 2, parts.removeLast() == "All" else { return nil }
    var version = 1
    if parts.count == 2, let last = parts.last, last.first == "V", let number = Int(last.dropFirst()), number > 1 {
      version = number
      parts.removeLast()
    }
    guard parts.count == 1, !parts[0].isEmpty else { return nil }
    self.init(projection: String(parts[0]), version: version)
  }

  /// Rows of the progression that belong to Marten itself and not to a shard.
  package static let reserved = ["HighWaterMark", "HighWaterAllocationFence", "HighWaterStuckGap"]

  package var description: String {
    version > 1 ? "\(projection):V\(version):All" : "\(projection):All"
  }

  package static func < (a: ShardName, b: ShardName) -> Bool {
    (a.projection, a.version) < (b.projection, b.version)
  }
}
