/// Whether new tables find room beside the old ones.
package struct SpaceNeed: Hashable, Sendable {
  /// A place for tables, and what the new ones need there: as much as the old ones have, with their indexes.
  package struct Place: Hashable, Sendable {
    package var name: String
    package var needed: Int64
    /// Nil if this process cannot see the server's disk.
    package var free: Int64?

    package init(name: String, needed: Int64, free: Int64?) {
      self.name = name
      self.needed = needed
      self.free = free
    }
  }

  package var places: [Place]

  package init(_ places: [Place]) { self.places = places }

  /// - Throws: ``Problem`` before anything is made, if a place has less than is needed.
  package func check(of projection: String) throws(Problem) {
    guard let short = places.first(where: { place in place.free.map { $0 < place.needed } ?? false }) else { return }
    throw Problem(
      .rebuild(.noSpace),
      "the new tables of \(projection) need about \(sized(short.needed)), as the old ones take, and \(short.name) has \(sized(short.free!)) left",
      hint:
        "Free space there, or rebuild with --in-place, which makes no new tables. If the old tables are mostly dead rows, VACUUM FULL makes them smaller."
    )
  }
}

/// `3.4 GB`, as PostgreSQL's pg_size_pretty: in powers of 1024.
package func sized(_ bytes: Int64) -> String {
  var value = Double(bytes)
  for unit in ["bytes", "kB", "MB", "GB"] {
    if value < 1000 { return unit == "bytes" ? "\(bytes) bytes" : "\((value * 10).rounded() / 10) \(unit)" }
    value /= 1024
  }
  return "\((value * 10).rounded() / 10) TB"
}
