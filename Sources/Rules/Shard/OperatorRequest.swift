/// An operator's request for a shard, as every node reads it from the database.
package struct OperatorRequest: Sendable, Hashable {
  package enum Kind: String, Sendable { case run, pause, stop }

  package var kind: Kind
  /// The time left of a pause; nil if only an operator ends it.
  package var left: Duration?
  /// The operator's name; nil if the row has none.
  package var by: String?
  /// Counts the requests for this shard.
  package var serial: Int64

  package init(_ kind: Kind, left: Duration? = nil, by: String? = nil, serial: Int64) {
    self.kind = kind
    self.left = left
    self.by = by
    self.serial = serial
  }
}
