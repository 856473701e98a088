/// What an operator wants of a shard, as it is written down for every node.
package struct OperatorRequest: Sendable, Hashable {
  package enum Kind: String, Sendable { case run, pause, stop }

  package var kind: Kind
  /// Until a pause is over; nil where only an operator ends it.
  package var left: Duration?
  /// The operator's name; nil where the row has none.
  package var by: String?
  /// Counts the wishes for this shard.
  package var serial: Int64

  package init(_ kind: Kind, left: Duration? = nil, by: String? = nil, serial: Int64) {
    self.kind = kind
    self.left = left
    self.by = by
    self.serial = serial
  }
}
