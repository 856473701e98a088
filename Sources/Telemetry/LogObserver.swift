import Rules
import Synchronization

/// Turns observations into log entries: the constant sentence of the catalogue, with the data in fields.
package final class LogObserver: Observer {
  private let log: any Log
  private let threshold: Mutex<LogLevel>

  /// - Parameter level: what weighs less is left out.
  package init(_ log: any Log, level: LogLevel) {
    self.log = log
    threshold = Mutex(level)
  }

  package var level: LogLevel {
    get { threshold.withLock { $0 } }
    set { threshold.withLock { $0 = newValue } }
  }

  package func observe(_ observation: Observation, in database: String?) {
    let entry = observation.kind.entry
    let weight = observation.givenLevel ?? entry.level
    guard weight >= level else { return }
    var fields = observation.fields
    fields["message_id"] = entry.id
    if let database { fields["database"] = database }
    log.write(LogEntry(weight, entry.message, fields))
  }
}

extension Observation {
  package var kind: ObservationKind {
    switch self {
    case .started: .started
    case .ready: .ready
    case .stopping: .stopping
    case .stopped: .stopped
    case .stopTimedOut: .stopTimedOut
    case .reloaded: .reloaded
    case .reloadRefused: .reloadRefused
    case .restartNeeded: .restartNeeded
    case .databaseUnreachable: .databaseUnreachable
    case .databaseRefused: .databaseRefused
    case .databaseReady: .databaseReady
    case .schemaUpdated: .schemaUpdated
    case .serverNotice: .serverNotice
    case .sequenceCached: .sequenceCached
    case .markRestored: .markRestored
    case .markMoved: .markMoved
    case .markHeld: .markHeld
    case .markReleased: .markReleased
    case .markRefused: .markRefused
    case .markFailed: .markFailed
    case .gapsPassed: .gapsPassed
    case .gapsUnwatched: .gapsUnwatched
    case .lateArrival: .lateArrival
    case .nodesChanged: .nodesChanged
    case .leadershipTaken: .leadershipTaken
    case .leadershipGiven: .leadershipGiven
    case .leadershipBlocked: .leadershipBlocked
    case .leadershipLost: .leadershipLost
    case .leadershipWaived: .leadershipWaived
    case .otherNode: .otherNode
    case .shardStarted: .shardStarted
    case .shardCaughtUp: .shardCaughtUp
    case .pageApplied: .pageApplied
    case .pageSlow: .pageSlow
    case .shardRetrying: .shardRetrying
    case .shardPaused: .shardPaused
    case .shardResumed: .shardResumed
    case .shardStopped: .shardStopped
    case .shardHalted: .shardHalted
    case .deadLetter: .deadLetter
    case .deadLettersRemoved: .deadLettersRemoved
    case .definitionChanged: .definitionChanged
    case .shardWaiting: .shardWaiting
    case .shardRefused: .shardRefused
    case .shardEnded: .shardEnded
    case .rebuildStarted: .rebuildStarted
    case .rebuildHindered: .rebuildHindered
    case .rebuildRetrying: .rebuildRetrying
    case .rebuildCompared: .rebuildCompared
    case .rebuildExchanged: .rebuildExchanged
    case .rebuildFailed: .rebuildFailed
    case .rebuildAborted: .rebuildAborted
    case .pluginStarted: .pluginStarted
    case .pluginSaid: .pluginSaid
    case .pluginLinesDropped: .pluginLinesDropped
    case .pluginLost: .pluginLost
    case .pluginEnded: .pluginEnded
    }
  }

  /// Where whoever speaks says how much it weighs; otherwise the catalogue does.
  var givenLevel: LogLevel? {
    if case .pluginSaid(_, let level, _) = self { LogLevel(named: level) } else { nil }
  }

  package var fields: LogEntry.Fields {
    switch self {
    case .started(let version, let mode, let shards):
      ["version": version, "mode": mode, "shards": "\(shards)"]
    case .ready, .stopping, .stopped, .stopTimedOut: [:]
    case .reloaded(let added, let removed, let changed):
      ["added": "\(list(added))", "removed": "\(list(removed))", "changed": "\(list(changed))"]
    case .reloadRefused(let problem): ["problem": problem]
    case .restartNeeded(let key): ["key": key]

    case .databaseUnreachable(let place, let failure, let delay):
      ["url": place] + failure.fields + retry(delay)
    case .databaseRefused(let failure, let delay): failure.fields + retry(delay)
    case .databaseReady(let place, let version):
      ["url": place, "server": "\(version / 10_000).\(version % 10_000)"]
    case .schemaUpdated(let steps): ["made": "\(steps.joined(separator: ", "))"]
    case .serverNotice(let severity, let message): ["severity": severity, "text": message]
    case .sequenceCached(let size): ["cache": "\(size)"]

    case .markRestored(let mark): ["mark": mark.map(String.init) ?? "none yet"]
    case .markMoved(let from, let to): ["from": "\(from)", "mark": "\(to)"]
    case .markHeld(let at, let duration, let holders):
      ["mark": "\(at)", "for": "\(duration.brief)", "by": "\(holders.joined(separator: "; "))"]
    case .markReleased(let at, let duration): ["mark": "\(at)", "after": "\(duration.brief)"]
    case .markRefused(let failure), .gapsUnwatched(let failure), .otherNode(let failure): failure.fields
    case .markFailed(let failure, let delay): failure.fields + retry(delay)
    case .gapsPassed(let gaps, let reason):
      [
        "first": "\(gaps.map(\.lowerBound).min() ?? 0)", "last": "\(gaps.map(\.upperBound).max() ?? 0)",
        "numbers": "\(gaps.reduce(0) { $0 + $1.count })", "reason": reason,
      ]
    case .lateArrival(let sequence, let type, let shards):
      [
        "sequence": "\(sequence)", "type": type,
        "shards": "\(shards.isEmpty ? "none" : shards.joined(separator: ", "))",
      ]

    case .nodesChanged(let nodes): ["nodes": "\(nodes.joined(separator: ", "))"]
    case .leadershipTaken(let shard, let cause), .leadershipGiven(let shard, let cause):
      ["shard": "\(shard)", "cause": cause]
    case .leadershipBlocked(let shard, let who): ["shard": "\(shard)", "by": who]
    case .leadershipWaived(let length): ["after": "\(length.brief)"]
    case .leadershipLost(let failure, let delay): failure.fields + retry(delay)

    case .shardStarted(let shard, let position): ["shard": "\(shard)", "position": "\(position)"]
    case .shardCaughtUp(let shard, let position): ["shard": "\(shard)", "position": "\(position)"]
    case .pageApplied(let shard, let page, let took):
      ["shard": "\(shard)", "floor": "\(page.floor)", "ceiling": "\(page.ceiling)", "took": "\(took.brief)"]
    case .pageSlow(let shard, let page, let duration):
      ["shard": "\(shard)", "floor": "\(page.floor)", "ceiling": "\(page.ceiling)", "for": "\(duration.brief)"]
    case .shardRetrying(let shard, let failure, let delay, let attempt):
      ["shard": "\(shard)", "attempt": "\(attempt)"] + failure.fields + retry(delay)
    case .shardPaused(let shard, let failure, let delay), .shardRefused(let shard, let failure, let delay):
      ["shard": "\(shard)"] + failure.fields + retry(delay)
    case .shardResumed(let shard): ["shard": "\(shard)"]
    case .shardHalted(let shard, let by, let length):
      ["shard": "\(shard)", "by": by, "for": "\(length?.brief ?? "until told otherwise")"]
    case .deadLetter(let shard, let sequence, let failure):
      ["shard": "\(shard)"] + failure.fields + ["sequence": "\(sequence)"]
    case .deadLettersRemoved(let shard, let position, let count):
      ["shard": "\(shard)", "position": "\(position)", "count": "\(count)"]
    case .definitionChanged(let shard, let position):
      ["shard": "\(shard)", "position": "\(position)", "hint": "tidemark rebuild \(shard)"]
    case .shardStopped(let shard, let failure): ["shard": "\(shard)"] + failure.fields
    case .shardWaiting(let shard, let reason): ["shard": "\(shard)", "reason": reason]
    case .shardEnded(let shard, let position):
      ["shard": "\(shard)", "position": "\(position.map(String.init) ?? "unknown")"]

    case .rebuildStarted(let shard, let position, let resumed):
      ["shard": "\(shard)", "position": "\(position)", "resumed": "\(resumed)"]
    case .rebuildHindered(let shard, let reason): ["shard": "\(shard)", "reason": reason]
    case .rebuildRetrying(let shard, let failure, let delay, let attempt):
      ["shard": "\(shard)"] + failure.fields + retry(delay) + ["attempt": "\(attempt)"]
    case .rebuildCompared(let shard, let position): ["shard": "\(shard)", "position": "\(position)"]
    case .rebuildExchanged(let shard, let position, let way, let reason, let took):
      ["shard": "\(shard)", "position": "\(position)", "way": way, "reason": reason, "took": "\(took.brief)"]
    case .rebuildFailed(let shard, let failure): ["shard": "\(shard)"] + failure.fields
    case .rebuildAborted(let shard): ["shard": "\(shard)"]

    case .pluginStarted(let shard, let pid):
      ["shard": "\(shard)", "pid": "\(pid.map(String.init) ?? "none, it is a library")"]
    case .pluginSaid(let shard, _, let text): ["shard": "\(shard)", "text": text]
    case .pluginLinesDropped(let shard, let count): ["shard": "\(shard)", "count": "\(count)"]
    case .pluginLost(let shard, let failure): ["shard": "\(shard)"] + failure.fields
    case .pluginEnded(let shard, let how): ["shard": "\(shard)", "how": how]
    }
  }

  private func retry(_ delay: Duration) -> LogEntry.Fields { ["retry_in": "\(delay.brief)"] }

  private func list(_ shards: [ShardName]) -> String {
    shards.isEmpty ? "none" : shards.map { "\($0)" }.joined(separator: ", ")
  }
}

extension Failure {
  var fields: LogEntry.Fields {
    var fields: LogEntry.Fields = ["error": message]
    if let detail { fields["detail"] = "\(detail)" }
    if let hint { fields["hint"] = "\(hint)" }
    if let sqlState { fields["sqlstate"] = "\(sqlState)" }
    if let source, source.line > 0 { fields["source"] = "\(source)" }
    if let sequence { fields["sequence"] = "\(sequence)" }
    return fields
  }
}

private func + (a: LogEntry.Fields, b: LogEntry.Fields) -> LogEntry.Fields { a.merging(b) { _, new in new } }

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
