package import Rules

/// The line that `systemctl status` shows for the daemon.
package enum StatusLine {
  /// The state of one database.
  package struct Database: Sendable {
    /// The database's name if there are several.
    package var name: String?
    /// Nil while the database is unreachable.
    package var mark: Int64?
    /// Those that run on this node.
    package var shards: [ShardName: HealthBoard.Entry]
    /// The number of shards in the settings.
    package var declared: Int
    /// The number of shards that all nodes share; nil if this node runs every shard.
    package var shared: Int?
    /// Why the database cannot be followed, if it cannot.
    package var away: String?
    /// The agents that cannot do their work, each with the reason.
    package var hindered: [String]

    package init(
      name: String?, mark: Int64?, shards: [ShardName: HealthBoard.Entry], declared: Int? = nil, shared: Int? = nil,
      away: String? = nil, hindered: [String] = []
    ) {
      self.name = name
      self.mark = mark
      self.shards = shards
      self.declared = declared ?? shards.count
      self.shared = shared
      self.away = away
      self.hindered = hindered
    }

    var total: Int { shared ?? max(declared, shards.count) }
  }

  package static func text(_ databases: [Database]) -> String {
    let shards = databases.flatMap { database in
      database.shards.map { name, entry in
        Line(name: (database.name.map { "\($0)/" } ?? "") + "\(name)", entry: entry, mark: database.mark)
      }
    }.sorted { $0.name < $1.name }
    let answering = databases.filter { $0.mark != nil }
    let total = databases.reduce(0) { $0 + $1.total }
    guard !answering.isEmpty else {
      var parts = ["waiting for \(databases.count == 1 ? "the database" : "\(databases.count) databases")"]
      parts += databases.compactMap { database in
        database.away.map { (database.name.map { "\($0): " } ?? "") + $0 }
      }
      if databases.count == 1, parts.count > 1 { parts = [parts[0] + ": " + parts[1]] }
      if total > 0 { parts.append("\(counted(total, "shard")) to run") }
      return parts.joined(separator: " · ")
    }
    let running = shards.count { $0.mark != nil && $0.entry.state.isWorking }
    let isSharing = databases.contains { $0.shared != nil }
    let work = isSharing ? "leading \(shards.count) of \(total) shards" : "following with \(running) of \(total) shards"
    var parts: [String]
    if databases.count == 1, let mark = databases[0].mark {
      parts = [work, "mark \(grouped(mark))"]
    } else {
      parts = ["\(work) in \(answering.count) of \(databases.count) databases"]
      let unreachable = databases.filter { $0.mark == nil }
      if let first = unreachable.first, let name = first.name {
        let why = first.away.map { " (\(shortened($0)))" } ?? ""
        parts.append("\(unreachable.count) unreachable: \(name)\(why)\(unreachable.count > 1 ? ", …" : "")")
      }
    }
    for database in answering {
      parts += database.hindered.map { "not working: \(database.name.map { "\($0): " } ?? "")\($0)" }
    }
    if let worst = shards.filter({ $0.lag > 0 }).max(by: { ($0.lag, $1.name) < ($1.lag, $0.name) }) {
      parts.append("worst lag \(grouped(worst.lag)) (\(worst.name))")
    }
    for state in ShardState.worstFirst {
      let those = shards.filter { $0.entry.state == state }
      guard let first = those.first else { continue }
      let why = first.entry.reason.map { " (\(shortened($0)))" } ?? ""
      parts.append("\(those.count) \(state.rawValue): \(first.name)\(why)\(those.count > 1 ? ", …" : "")")
    }
    return parts.joined(separator: " · ")
  }

  private struct Line {
    var name: String
    var entry: HealthBoard.Entry
    var mark: Int64?
    var lag: Int64 { mark.flatMap { mark in entry.position.map { mark.less($0) } } ?? 0 }
  }
}

/// A reason cut to fit the line; keeps the end of a pause, which comes last.
private func shortened(_ reason: String) -> String {
  guard reason.count > 60 else { return reason }
  let end = reason.firstMatch(of: #/ \(until [0-9:]+\)$/#).map { String($0.output) } ?? ""
  return reason.prefix(60) + "…" + end
}
