import Rules
import Telemetry

/// One observation of each fact, with values that can be told apart.
enum Sample {
  static let trip = ShardName(projection: "Trip")
  static let day = ShardName(projection: "Day", version: 2)
  static let failure = Problem(
    "division by zero", code: .sqlState("22012"), detail: "of 7", hint: "Mend it.",
    source: SourceLocation(file: "/etc/tidemark/tidemark.toml", line: 12), sequence: 41)
  static let plain = Problem("refused")

  static let observations: [Observation] = [
    .started(version: "0.1.0", mode: .hotcold, shards: 3),
    .ready, .stopping, .stopped, .stopTimedOut,
    .reloaded(added: [trip, day], removed: [], changed: [day]),
    .reloadRefused(problem: "tidemark.toml:3: mode: unknown"),
    .restartNeeded(key: "database.url"), .logLost(count: 17), .descriptorsShort(limit: 64, needed: 112),
    .fileExposed(failure: Problem("every user may read /etc/tidemark/tidemark.toml", hint: "chmod o-r")),

    .databaseUnreachable(where: "host=/run user=t", failure: plain, retryIn: .milliseconds(250)),
    .databaseRefused(failure: failure, retryIn: .seconds(30)),
    .agentHindered("the reader", for: .seconds(3), undone: "nothing is read", failure: plain),
    .agentWorks("the reader", after: .seconds(90)),
    .databaseReady(where: "host=/run", serverVersion: 170_004),
    .schemaUpdated(steps: ["tables", "views"]),
    .schemaWaits(for: "pid 1; pid 2", retryIn: .seconds(1)),
    .startWaits(failure: failure, retryIn: .seconds(1)),
    .serverNotice(severity: "NOTICE", message: "two words"),
    .sequenceCached(size: 32),
    .storeAtRisk(failure: Problem("the event table is unlogged", hint: "ALTER TABLE")), .storeChanged,
    .pathOpen(failure: Problem("PUBLIC may create in schema public", hint: "REVOKE CREATE")),

    .eraBegan(2, failure: plain), .markRestored(nil), .markRestored(7),
    .markMoved(from: 7, to: 12),
    .markHeld(at: 12, for: .milliseconds(1500), by: ["pid 1", "pid 2"]),
    .markReleased(at: 12, after: .seconds(1000)),
    .markRefused(failure: failure),
    .markFailed(failure: plain, retryIn: .seconds(1)),
    .gapsPassed([13...14, 20...20], reason: .grace), .gapsPassed([21...21], reason: .skippedLongHold),
    .gapsUnwatched(failure: plain),
    .lateArrival(sequence: 13, type: "travel", shards: []),
    .lateArrival(sequence: 14, type: "travel", shards: ["Trip:All", "Day:V2:All"]),
    .numbersNotDrawn([13, 14], shards: ["Trip:All"], undecided: ["Day:V2:All"]),

    .nodesChanged(["a/1", "b/2"]),
    .leadershipTaken(trip, cause: "it is new"),
    .leadershipGiven(trip, cause: "this node stops"),
    .leadershipBlocked(trip, by: "b/2"),
    .leadershipLost(failure: plain, retryIn: .seconds(2)),
    .leadershipWaived(after: .seconds(15)),
    .otherNode(failure: plain),

    .shardStarted(trip, position: 0),
    .shardCaughtUp(trip, position: 9_000),
    .pageApplied(trip, Page(floor: 5, ceiling: 9), took: .milliseconds(7)),
    .pageSlow(day, Page(floor: 9, ceiling: 12), for: .seconds(12)),
    .pageSlow(day, Page(floor: 9, ceiling: 12), for: .seconds(20), hindrance: "waits for pid 7 (psql, local, joe)"),
    .pageNarrowed(trip, failure: failure, width: 500),
    .shardRetrying(trip, failure: plain, retryIn: .milliseconds(250), attempt: 3),
    .shardPaused(trip, failure: failure, for: .seconds(30)),
    .shardResumed(trip),
    .shardHalted(trip, by: "an operator", for: nil), .shardHalted(trip, by: "an operator", for: .seconds(7200)),
    .deadLetter(trip, sequence: 8, failure: plain),
    .deadLettersRemoved(trip, position: 4, count: 2),
    .definitionChanged(day, position: 4),
    .statementAtRisk(trip, failure: failure),
    .shardStopped(trip, failure: failure),
    .shardWaiting(trip, reason: "its row is locked"),
    .shardRefused(trip, failure: plain, retryIn: .seconds(10)),
    .shardMismatched(trip, failure: plain, retryIn: .seconds(10)),
    .shardMoved(trip, failure: plain, retryIn: .seconds(10)),
    .tablesReplaced(trip, failure: plain),
    .shardEnded(trip, position: nil), .shardEnded(trip, position: 5),

    .rebuildStarted(trip, position: 1, resumed: true),
    .rebuildWaiting(trip, reason: "a page"),
    .rebuildHindered(trip, reason: "readers"),
    .rebuildRetrying(trip, failure: failure, retryIn: .zero, attempt: 2),
    .rebuildCompared(trip, position: 8),
    .rebuildExchanged(trip, position: 8, way: .inPlace, reason: "as asked", took: .milliseconds(1040)),
    .rebuildFailed(trip, failure: failure),
    .rebuildAborted(trip),

    .pluginStarted(trip, pid: nil), .pluginStarted(trip, pid: 77),
    .pluginSaid(trip, level: .warning, text: "low on stamps"),
    .pluginLinesDropped(trip, count: 12),
    .failuresLeftOut(trip, of: .deadLetter, count: nil), .failuresLeftOut(nil, of: .markFailed, count: 7),
    .pluginLost(trip, failure: plain),
    .pluginEnded(trip, how: "was closed"),
  ]
}
