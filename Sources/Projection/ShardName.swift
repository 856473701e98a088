/// The name of a shard, as Marten writes it: `Trip:All`, and `Trip:V2:All` from version 2 on.
///
/// It is the key of the shard's row in the progression table, so it is compared whole and never by prefix.
package struct ShardName: Hashable, Sendable, Comparable, CustomStringConvertible {
  package let projection: String
  package let version: Int

  package init(projection: String, version: Int = 1) {
    self.projection = projection
    self.version = version
  }

  package var description: String {
    version > 1 ? "\(projection):V\(version):All" : "\(projection):All"
  }

  package static func < (a: ShardName, b: ShardName) -> Bool {
    (a.projection, a.version) < (b.projection, b.version)
  }
}
