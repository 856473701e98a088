package import Rules

/// Everything the daemon notices: facts, without words. Observers decide what becomes of them.
///
/// Event bodies and passwords are never part of an observation.
package enum Observation: Sendable {
  // The process
  case started(version: String, mode: String, shards: Int)
  case ready
  case stopping
  case stopped
  case stopTimedOut
  case reloaded(added: [ShardName], removed: [ShardName], changed: [ShardName])
  case reloadRefused(problem: String)
  case restartNeeded(key: String)

  // The database
  case databaseUnreachable(where: String, failure: Failure, retryIn: Duration)
  case databaseRefused(failure: Failure, retryIn: Duration)
  case databaseReady(where: String, serverVersion: Int)
  case schemaUpdated(steps: [String])
  case serverNotice(severity: String, message: String)
  case sequenceCached(size: Int64)

  // The high-water mark
  case markRestored(Int64?)
  case markMoved(from: Int64, to: Int64)
  case markHeld(at: Int64, for: Duration, by: [String])
  case markReleased(at: Int64, after: Duration)
  case markRefused(failure: Failure)
  case markFailed(failure: Failure, retryIn: Duration)
  case gapsPassed([ClosedRange<Int64>], reason: String)
  case gapsUnwatched(failure: Failure)
  /// - Parameter shards: those that have a dead letter of it; the others will meet it in a page, or do not take its type.
  case lateArrival(sequence: Int64, type: String, shards: [String])

  // Leadership
  case nodesChanged([String])
  case leadershipTaken(ShardName, cause: String)
  case leadershipGiven(ShardName, cause: String)
  case leadershipBlocked(ShardName, by: String)
  case leadershipLost(failure: Failure, retryIn: Duration)
  case leadershipWaived(after: Duration)
  case otherNode(failure: Failure)

  // A shard
  case shardStarted(ShardName, position: Int64)
  case shardCaughtUp(ShardName, position: Int64)
  case pageApplied(ShardName, Page, took: Duration)
  case pageSlow(ShardName, Page, for: Duration)
  case shardRetrying(ShardName, failure: Failure, retryIn: Duration, attempt: Int)
  case shardPaused(ShardName, failure: Failure, for: Duration)
  case shardResumed(ShardName)
  case shardHalted(ShardName, by: String, for: Duration?)
  case deadLetter(ShardName, sequence: Int64, failure: Failure)
  case deadLettersRemoved(ShardName, position: Int64, count: Int)
  case definitionChanged(ShardName, position: Int64)
  case shardStopped(ShardName, failure: Failure)
  case shardWaiting(ShardName, reason: String)
  case shardRefused(ShardName, failure: Failure, retryIn: Duration)
  case shardEnded(ShardName, position: Int64?)

  // A rebuild
  case rebuildStarted(ShardName, position: Int64, resumed: Bool)
  case rebuildHindered(ShardName, reason: String)
  /// - Parameter attempt: failures in a row; of the exchange, how often it has failed so far.
  case rebuildRetrying(ShardName, failure: Failure, retryIn: Duration, attempt: Int)
  case rebuildCompared(ShardName, position: Int64)
  /// - Parameter took: of what the live shard had to wait for.
  case rebuildExchanged(ShardName, position: Int64, way: String, reason: String, took: Duration)
  case rebuildFailed(ShardName, failure: Failure)
  case rebuildAborted(ShardName)

  // A plugin
  case pluginStarted(ShardName, pid: Int?)
  case pluginSaid(ShardName, level: String, text: String)
  case pluginLinesDropped(ShardName, count: Int)
  case pluginLost(ShardName, failure: Failure)
  case pluginEnded(ShardName, how: String)
}

/// Why something did not work, as far as an operator can use it.
package struct Failure: Error, Sendable, Hashable, CustomStringConvertible {
  package var message: String
  package var detail: String?
  package var hint: String?
  /// PostgreSQL's five-character code, where the server said it, or one of Tidemark's own.
  package var sqlState: String?
  /// Where in the operator's files the failing statement stands.
  package var source: SourceLocation?
  /// The event that was being applied, where it is known.
  package var sequence: Int64?

  package init(
    _ message: String, detail: String? = nil, hint: String? = nil, sqlState: String? = nil,
    source: SourceLocation? = nil,
    sequence: Int64? = nil
  ) {
    self.message = message
    self.detail = detail
    self.hint = hint
    self.sqlState = sqlState
    self.source = source
    self.sequence = sequence
  }

  package var description: String {
    var text = message
    if let sqlState { text += " (\(Self.words(forCode: sqlState)))" }
    if let source, source.line > 0 { text += " at \(source)" }
    return text
  }

  /// `SQLSTATE 22012`, or `TM501`, which is nothing of PostgreSQL's.
  package static func words(forCode code: String) -> String { code.hasPrefix("TM") ? code : "SQLSTATE \(code)" }
}

/// Whoever wants to know what the daemon notices. Called from any task; must not block.
package protocol Observer: Sendable {
  /// - Parameter database: the name of one of several databases; nil for what concerns the node, or where there is only one.
  func observe(_ observation: Observation, in database: String?)
}

extension Observer {
  package func observe(_ observation: Observation) { observe(observation, in: nil) }
}

/// Adds the database to whatever is observed there.
package struct DatabaseObserver: Observer {
  private let next: any Observer
  private let name: String

  package init(_ next: any Observer, database name: String) {
    self.next = next
    self.name = name
  }

  package func observe(_ observation: Observation, in database: String?) { next.observe(observation, in: name) }
}

extension String {
  /// The text, cut after `limit` characters: one entry of a log stays readable whatever a server or a plugin says.
  package func shortened(to limit: Int) -> String { count > limit ? prefix(limit) + " …" : self }
}
