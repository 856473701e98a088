package import Logging
import Projection

/// Turns observations into log entries: a constant sentence, with the data in fields.
///
/// *debug* is every page; *notice* a state that changed; *warning* degraded but moving; *error* means that an operator must act.
package struct LogObserver: Observer {
  private let logger: Logger

  package init(_ logger: Logger) { self.logger = logger }

  package func observe(_ observation: Observation) {
    let entry = observation.entry
    logger.log(level: entry.level, "\(entry.message)", metadata: entry.fields)
  }
}

extension Observation {
  struct Entry {
    var level: Logger.Level
    var message: String
    var fields: Logger.Metadata

    init(_ level: Logger.Level, _ message: String, _ fields: Logger.Metadata = [:]) {
      self.level = level
      self.message = message
      self.fields = fields
    }
  }

  var entry: Entry {
    switch self {
    case .started(let version, let mode, let shards):
      Entry(.notice, "Tidemark started", ["version": "\(version)", "mode": "\(mode)", "shards": "\(shards)"])
    case .stopping: Entry(.notice, "Stopping: shards finish the page they are in")
    case .stopped: Entry(.notice, "Stopped")

    case .databaseUnreachable(let place, let failure, let delay):
      Entry(
        .warning, "Cannot reach the database; waiting for it", ["database": "\(place)"] + failure.fields + retry(delay))
    case .databaseReady(let place, let version):
      Entry(.notice, "Connected", ["database": "\(place)", "server": "\(version / 10_000).\(version % 10_000)"])
    case .storeUnfit(let failure, let delay):
      Entry(.error, "The event store cannot be followed", failure.fields + retry(delay))
    case .schemaUpdated(let steps):
      Entry(.notice, "Updated the schema tidemark", ["made": "\(steps.joined(separator: ", "))"])
    case .serverNotice(let severity, let message):
      Entry(.info, "The server says", ["severity": "\(severity)", "text": "\(message)"])
    case .sequenceCached(let size):
      Entry(
        .warning, "The sequence of the event store is cached, so gaps are passed by the clock, not by proof",
        ["cache": "\(size)", "hint": "ALTER SEQUENCE mt_events_sequence CACHE 1"])

    case .markRestored(let mark):
      Entry(.info, "High-water mark restored", ["mark": "\(mark.map(String.init) ?? "none yet")"])
    case .markMoved(let from, let to): Entry(.debug, "High-water mark moved", ["from": "\(from)", "mark": "\(to)"])
    case .markHeld(let at, let duration, let holders):
      Entry(
        .warning, "High-water mark held",
        ["mark": "\(at)", "for": "\(duration.brief)", "by": "\(holders.joined(separator: "; "))"])
    case .markReleased(let at, let duration):
      Entry(.notice, "High-water mark released", ["mark": "\(at)", "after": "\(duration.brief)"])
    case .markRefused(let failure):
      Entry(.error, "Shards do not run: the high-water mark cannot be trusted", failure.fields)
    case .gapPassed(let gap, let reason):
      Entry(
        .info, "Stepped over numbers that no event has",
        ["first": "\(gap.lowerBound)", "last": "\(gap.upperBound)", "reason": "\(reason)"])
    case .lateArrival(let sequence, let type, let shards):
      Entry(
        .error, "An event arrived after its number had been stepped over; it is kept as a dead letter",
        ["sequence": "\(sequence)", "type": "\(type)", "shards": "\(shards.joined(separator: ", "))"])

    case .shardStarted(let shard, let position):
      Entry(.notice, "Shard started", ["shard": "\(shard)", "position": "\(position)"])
    case .shardCaughtUp(let shard, let position):
      Entry(.info, "Shard caught up", ["shard": "\(shard)", "position": "\(position)"])
    case .pageApplied(let shard, let page, let took):
      Entry(
        .debug, "Page applied",
        ["shard": "\(shard)", "floor": "\(page.floor)", "ceiling": "\(page.ceiling)", "took": "\(took.brief)"])
    case .shardRetrying(let shard, let failure, let delay, let attempt):
      Entry(
        .warning, "Page failed; trying again",
        ["shard": "\(shard)", "attempt": "\(attempt)"] + failure.fields + retry(delay))
    case .shardPaused(let shard, let failure, let delay):
      Entry(.error, "Shard paused: its page fails", ["shard": "\(shard)"] + failure.fields + retry(delay))
    case .shardResumed(let shard): Entry(.notice, "Shard goes on", ["shard": "\(shard)"])
    case .shardStopped(let shard, let failure): Entry(.error, "Shard stopped", ["shard": "\(shard)"] + failure.fields)
    case .shardWaiting(let shard, let reason):
      Entry(.notice, "Shard waits to begin", ["shard": "\(shard)", "reason": "\(reason)"])
    case .shardEnded(let shard, let position):
      Entry(.info, "Shard ended", ["shard": "\(shard)", "position": "\(position.map(String.init) ?? "unknown")"])
    }
  }

  private func retry(_ delay: Duration) -> Logger.Metadata { ["retry_in": "\(delay.brief)"] }
}

extension Failure {
  var fields: Logger.Metadata {
    var fields: Logger.Metadata = ["error": "\(message)"]
    if let detail { fields["detail"] = "\(detail)" }
    if let hint { fields["hint"] = "\(hint)" }
    if let sqlState { fields["sqlstate"] = "\(sqlState)" }
    if let source, source.line > 0 { fields["source"] = "\(source)" }
    if let sequence { fields["sequence"] = "\(sequence)" }
    return fields
  }
}

private func + (a: Logger.Metadata, b: Logger.Metadata) -> Logger.Metadata { a.merging(b) { _, new in new } }

extension Duration {
  /// For people: `350 ms`, `1.5 s`, `42 s`, `12 min`.
  package var brief: String {
    let (seconds, attoseconds) = components
    let milliseconds = attoseconds / 1_000_000_000_000_000
    return switch seconds {
    case ..<1: "\(milliseconds) ms"
    case ..<10: milliseconds < 100 ? "\(seconds) s" : "\(seconds).\(milliseconds / 100) s"
    case ..<600: "\(seconds) s"
    case ..<7200: "\(seconds / 60) min"
    default: "\(seconds / 3600) h"
    }
  }
}
