import Rules

/// The keys of all our advisory locks in the followed database. They must never change, because programs of other versions hold the same
/// locks. The keys of shard leaders are Marten's own: ``LeaderLock``.
enum AdvisoryLocks {
  /// Held to the end of the transaction that changes the schema. An arbitrary number.
  static let schema: Int64 = 8_388_354_976_532_292_203

  /// Held by a node as long as it lives.
  static func node(_ name: String) -> Int64 { key("tidemark node \(name)") }

  /// Nodes that share the store hold it together, a node that does not holds it alone: so of two that exclude each other, only one enters.
  static let exclusivity = key("tidemark company")

  /// Held by the session that works on the rebuild of a shard.
  static func rebuild(_ shard: String) -> Int64 { key("tidemark rebuild \(shard)") }

  /// Held to the end of the transaction that gives a shard its first position: of two that fill one table, only one begins.
  static let claim = key("tidemark claim")

  /// Held while a node records gaps, and for a moment by each page that reads them; as SQL.
  static let gaps = "hashtextextended('tidemark.gap', 0)"

  private static func key(_ text: String) -> Int64 { Int64(bitPattern: stableHash(text.utf8)) }
}
