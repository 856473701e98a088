package import Projection

/// The one line that `systemctl status` shows of the daemon.
package enum StatusLine {
  /// - Parameter shared: with several nodes, how many shards all of them share; nil where this one runs every shard.
  package static func text(_ entries: [ShardName: HealthBoard.Entry], mark: Int64?, shared: Int? = nil) -> String {
    guard let mark else { return "waiting for the database · \(shared ?? entries.count) shards" }
    let running = entries.values.count { $0.isRunning }
    let work =
      shared.map { "leading \(entries.count) of \($0) shards" }
      ?? "following with \(running) of \(entries.count) shards"
    var parts = [work, "mark \(grouped(mark))"]
    let lags = entries.compactMap { name, entry in entry.position.map { (name: name, lag: mark - $0) } }
    if let worst = lags.max(by: { ($0.lag, $1.name) < ($1.lag, $0.name) }), worst.lag > 0 {
      parts.append("worst lag \(grouped(worst.lag)) (\(worst.name))")
    }
    for condition in ["paused", "stopped", "retrying", "slow"] {
      let names = entries.filter { $0.value.condition == condition }.keys.sorted()
      guard let first = names.first else { continue }
      let why = entries[first]?.reason.map { " (\(shortened($0)))" } ?? ""
      parts.append("\(names.count) \(condition): \(first)\(why)\(names.count > 1 ? ", …" : "")")
    }
    return parts.joined(separator: " · ")
  }
}

/// A reason for one line, with the end of a pause, which stands last.
private func shortened(_ reason: String) -> String {
  guard reason.count > 60 else { return reason }
  let end = reason.firstMatch(of: #/ \(until [0-9:]+\)$/#).map { String($0.output) } ?? ""
  return reason.prefix(60) + "…" + end
}

extension HealthBoard.Entry {
  fileprivate var isRunning: Bool { reason == nil && condition != "ended" }
}

/// `1234567` as `1,234,567`.
package func grouped(_ number: Int64) -> String {
  var digits = Array(String(number.magnitude))
  var position = digits.count - 3
  while position > 0 {
    digits.insert(",", at: position)
    position -= 3
  }
  return (number < 0 ? "-" : "") + String(digits)
}
