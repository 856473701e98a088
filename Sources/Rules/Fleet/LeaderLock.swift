/// The advisory lock that the leader of a shard holds. It has Marten's key, so a .NET host and one of our nodes never run the same shard.
package enum LeaderLock {
  /// With several databases, each has one lock, and all its shards have one leader.
  package static let databaseKey: Int64 = 4444

  /// - Parameter schema: of the event store.
  package static func key(schema: String, shard: String) -> Int64 {
    abs(Int64(stableHash("\(schema):\(shard)"))) + 4444
  }

  /// A hash of UTF-16 units in 32 bits: two halves that each take every other unit.
  private static func stableHash(_ text: String) -> Int32 {
    let start = (Int32(5381) << 16) &+ 5381
    var halves = (start, start)
    for (place, unit) in text.utf16.enumerated() {
      if place % 2 == 0 {
        halves.0 = ((halves.0 << 5) &+ halves.0) ^ Int32(unit)
      } else {
        halves.1 = ((halves.1 << 5) &+ halves.1) ^ Int32(unit)
      }
    }
    return halves.0 &+ (halves.1 &* 1_566_083_941)
  }
}
