/// Something that the daemon can notice, declared once: its stable message id, its level, and what an operator should know of it.
///
/// Each wing has a file of declarations. Beside each fact stands the function of ``Observation`` that makes an observation of it, with the
/// fact's fields. The log, the filter of repetitions, `tidemark.observations(7)` and the tests are all made from these.
package struct Fact: Sendable {
  /// For `journalctl MESSAGE_ID=…`. Never changes, whatever becomes of the words.
  package let id: String
  /// *debug* is every page; *notice* a state that changed; *warning* degraded but moving; *error* means that an operator must act.
  package let level: LogLevel
  /// A constant sentence; data goes into fields.
  package let message: String
  package let meaning: String
  package let action: String
  /// A failure that may come again and again: of what.
  package let repeats: Subject?
  /// What works again.
  package let ends: [Subject]

  /// What a failure that repeats is a failure of; each but those of a database as a whole belongs to one shard.
  package enum Subject: Sendable {
    case database, store, schema, mark, gaps, leadership
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

    .databaseUnreachable, .databaseRefused, .databaseReady, .schemaUpdated, .schemaWaits, .serverNotice,
    .sequenceCached, .storeAtRisk, .storeChanged,

    .markRestored, .markMoved, .markHeld, .markReleased, .markRefused, .markFailed, .gapsPassed, .gapsUnwatched,
    .lateArrival,

    .nodesChanged, .leadershipTaken, .leadershipGiven, .leadershipBlocked, .leadershipLost, .leadershipWaived,
    .otherNode,

    .shardStarted, .shardCaughtUp, .pageApplied, .pageSlow, .shardRetrying, .shardPaused, .shardResumed, .shardHalted,
    .deadLetter, .deadLettersRemoved, .definitionChanged, .shardStopped, .shardWaiting, .shardRefused, .shardEnded,

    .rebuildStarted, .rebuildHindered, .rebuildRetrying, .rebuildCompared, .rebuildExchanged, .rebuildFailed,
    .rebuildAborted,

    .pluginStarted, .pluginSaid, .pluginLinesDropped, .pluginLost, .pluginEnded,
  ]
}
