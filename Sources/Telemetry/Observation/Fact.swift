/// Something that the daemon can observe, declared once: its stable message id, its level, and what an operator should know about it.
///
/// Each subject has a file of declarations. A function of ``Observation`` follows each fact and makes an observation of it, with the
/// fact's fields. The log, the filter of repetitions, `tidemark.observations(7)` and the tests all derive from these.
package struct Fact: Sendable {
  /// For `journalctl MESSAGE_ID=…`. It never changes, even if the words do.
  package let id: String
  /// *debug* for every page; *notice* for a change of state; *warning* for degraded but working; *error* if an operator must act.
  package let level: LogLevel
  /// A constant sentence; data goes into fields.
  package let message: String
  package let meaning: String
  package let action: String
  /// The subject of a failure that may repeat.
  package let repeats: Subject?
  /// The subjects that work again.
  package let ends: [Subject]

  /// What a repeated failure concerns: a database as a whole, or one shard.
  package enum Subject: Sendable {
    case database, store, schema, mark, gaps, leadership, notice
    case lock, page, letters, plugin
  }

  init(
    _ id: String, _ level: LogLevel, _ message: String, meaning: String, action: String, repeats: Subject? = nil,
    ends: [Subject] = []
  ) {
    self.id = id
    self.level = level
    self.message = message
    self.meaning = meaning
    self.action = action
    self.repeats = repeats
    self.ends = ends
  }
}

extension Fact: Hashable, CustomStringConvertible {
  package static func == (a: Fact, b: Fact) -> Bool { a.id == b.id }

  package func hash(into hasher: inout Hasher) { hasher.combine(id) }

  package var description: String { message }
}

extension Fact {
  /// Every fact, in the order of the manual.
  package static let all: [Fact] = [
    .started, .ready, .stopping, .stopped, .stopTimedOut, .reloaded, .reloadRefused, .restartNeeded,
    .failuresLeftOut,
    .logLost, .descriptorsShort, .fileExposed,

    .databaseUnreachable, .databaseRefused, .agentHindered, .agentWorks, .databaseReady, .schemaUpdated, .schemaWaits,
    .startWaits,
    .serverNotice,
    .sequenceCached, .storeAtRisk, .pathOpen, .storeChanged,

    .markRestored, .eraBegan, .markMoved, .markHeld, .markReleased, .markRefused, .markFailed, .gapsPassed,
    .gapsUnwatched,
    .lateArrival, .numbersNotDrawn,

    .nodesChanged, .leadershipTaken, .leadershipGiven, .leadershipBlocked, .leadershipLost, .leadershipWaived,
    .otherNode,

    .shardStarted, .shardCaughtUp, .pageApplied, .pageSlow, .pageNarrowed, .shardRetrying, .shardPaused, .shardResumed,
    .shardHalted, .deadLetter, .deadLettersRemoved, .definitionChanged, .statementAtRisk, .shardStopped, .shardWaiting,
    .shardRefused, .shardMismatched, .shardMoved, .tablesReplaced, .shardEnded,

    .rebuildStarted, .rebuildWaiting, .rebuildHindered, .rebuildRetrying, .rebuildCompared, .rebuildExchanged,
    .rebuildFailed,
    .rebuildAborted,

    .pluginStarted, .pluginSaid, .pluginLinesDropped, .pluginLost, .pluginEnded,
  ]
}
