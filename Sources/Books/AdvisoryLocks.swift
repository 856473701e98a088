import Rules

/// The keys of every advisory lock of ours, in the numbers of the database that is followed. They stay what they are: programs of other
/// versions hold them beside this one. Those of the leaders of shards are Marten's own: ``LeaderLock``.
enum AdvisoryLocks {
  /// Held to the end of the transaction that changes the schema. A number of no meaning.
  static let schema: Int64 = 8_388_354_976_532_292_203

  /// Held by a node for as long as it lives.
  static func node(_ name: String) -> Int64 { key("tidemark node \(name)") }

  /// What nodes that share the store hold together, and one that does not holds alone: of two that exclude each other, only one gets in.
  static let exclusivity = key("tidemark company")

  /// Held by the session that works on the rebuild of a shard.
  static func rebuild(_ shard: String) -> Int64 { key("tidemark rebuild \(shard)") }

  /// Held while gaps are recorded, and for a moment by each page that looks at them; in SQL.
  static let gaps = "hashtextextended('tidemark.gap', 0)"

  private static func key(_ text: String) -> Int64 { Int64(bitPattern: stableHash(text.utf8)) }
}
