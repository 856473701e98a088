package import Rules

// A shard, from its start to its end.

extension Fact {
  package static let shardStarted = Fact(
    "c3cf5005745646239e42d8517fbe7317", .notice, "Shard started",
    meaning: "The shard continues from this position.",
    action: "Nothing.",
    ends: [.page])
}

extension Observation {
  package static func shardStarted(_ shard: ShardName, position: Int64) -> Self {
    Self(.shardStarted, shard).with(.position, position)
  }
}

extension Fact {
  package static let shardCaughtUp = Fact(
    "3bca45da101f4ec28ba5f75f5abb393a", .info, "Shard caught up",
    meaning: "The shard has reached the last event after having been far behind; nothing is outstanding above it.",
    action: "Nothing.")
}

extension Observation {
  package static func shardCaughtUp(_ shard: ShardName, position: Int64) -> Self {
    Self(.shardCaughtUp, shard).with(.position, position)
  }
}

extension Fact {
  package static let shardRetrying = Fact(
    "484b4a75b9374369966cf0f3d8524adc", .warning, "Page failed; trying again",
    meaning:
      "A failure that usually goes away: a deadlock, a timeout, a lost session. The page was rolled back.",
    action: "Nothing, unless it persists. Then check what the error names.",
    repeats: .page)
}

extension Observation {
  package static func shardRetrying(_ shard: ShardName, failure: Problem, retryIn delay: Duration, attempt: Int) -> Self
  {
    Self(.shardRetrying, shard, failure: failure).with(.retryIn, delay).with(.attempt, attempt)
  }
}

extension Fact {
  package static let shardPaused = Fact(
    "481ee743d9724454b0c9d1256821bff4", .error, "Shard paused: its page keeps failing",
    meaning:
      "An event or a statement fails. The page was rolled back, and other shards continue; this one tries again after retry_in.",
    action:
      "Read error, source and sequence. Fix the statement and reload, or fix the data. `tidemark check` finds statements that cannot work.",
    repeats: .page)
}

extension Observation {
  package static func shardPaused(_ shard: ShardName, failure: Problem, for delay: Duration) -> Self {
    Self(.shardPaused, shard, failure: failure).with(.retryIn, delay)
  }
}

extension Fact {
  package static let shardResumed = Fact(
    "772cdab1d7314572bab2353aabe13c29", .notice, "Shard works again",
    meaning: "The shard applied a page after failures.",
    action: "Nothing.",
    ends: [.page])
}

extension Observation {
  package static func shardResumed(_ shard: ShardName) -> Self {
    Self(.shardResumed, shard)
  }
}

extension Fact {
  package static let shardHalted = Fact(
    "be8a1f14f62c4bd6a1a0a7b8c3b7a9d5", .notice, "Shard halted on request",
    meaning:
      "An operator, a rule with \"pause all\" or \"stop all\", or a rebuild has paused or stopped the shard; the field by says which. It applies nothing until it is released.",
    action:
      "`tidemark resume` or `tidemark start` releases it. For a rebuild: nothing, the shard continues when the rebuild ends."
  )
}

extension Observation {
  package static func shardHalted(_ shard: ShardName, by who: String, for length: Duration?) -> Self {
    Self(.shardHalted, shard).with(.by, who).with(.for, length)
  }
}

extension Fact {
  package static let deadLettersRemoved = Fact(
    "79dad8d40b364e50ba61a8eb6731df84", .warning, "Dead letters above the shard's position removed",
    meaning:
      "Another program, or a person, set the position back or deleted it. The shard applies the events above it again, and one that still fails becomes a dead letter again.",
    action: "Nothing, if this was intended. Otherwise find out which program writes to mt_event_progression.")
}

extension Observation {
  package static func deadLettersRemoved(_ shard: ShardName, position: Int64, count: Int) -> Self {
    Self(.deadLettersRemoved, shard).with(.position, position).with(.count, count)
  }
}

extension Fact {
  package static let definitionChanged = Fact(
    "d8fb6b1d3f6d4a5c8c7f0f4a2e9b6c33", .warning,
    "The projection's statements changed after it reached its position",
    meaning:
      "The shard applied the events up to its position with other statements, and does not apply them again on its own.",
    action:
      "To bring the read model in line, run `tidemark rebuild`, or raise `version` to build a new one beside it.")
}

extension Observation {
  package static func definitionChanged(_ shard: ShardName, position: Int64) -> Self {
    Self(.definitionChanged, shard).with(.position, position).with(.hint, "tidemark rebuild \(shard)")
  }
}

extension Fact {
  package static let statementAtRisk = Fact(
    "2f6c1d0e9a7b4c55b0d3f3a1c7e84d19", .warning, "The result of a statement may depend on how many events a page has",
    meaning:
      "A page holds one event at the tail and thousands far behind. This statement comes to other rows, or is applied event by event, when several events of a page match one row. The shard continues.",
    action: "Rewrite the statement as the hint says, and rebuild the projection. `tidemark check` names it too.")
}

extension Observation {
  package static func statementAtRisk(_ shard: ShardName, failure: Problem) -> Self {
    Self(.statementAtRisk, shard, failure: failure)
  }
}

extension Fact {
  package static let shardStopped = Fact(
    "9b5b7d45605445efb2c876f107e40521", .error, "Shard stopped",
    meaning:
      "A statement cannot work for any event, a plugin refuses to run, or the failure policy says stop. If the error says that the position was moved, a second daemon, or a host that runs a shard of the same name, works on this one too. The page was rolled back and the position stays; other shards continue.",
    action:
      "Read error and source. Fix the statement or the plugin and reload, or fix what the error names and run `tidemark start NAME`. If the position was moved, first stop the other program that moves it."
  )
}

extension Observation {
  package static func shardStopped(_ shard: ShardName, failure: Problem) -> Self {
    Self(.shardStopped, shard, failure: failure)
  }
}

extension Fact {
  package static let shardWaiting = Fact(
    "5cc9fff179ee44349b29f12d2bbc5e3b", .notice, "Shard is waiting to start",
    meaning:
      "Another session holds the position's row: for a moment, the last page of a node that was just killed, or else a transaction of yours.",
    action:
      "Nothing, unless it never starts: then a transaction stays open. pg_blocking_pids(pid) in pg_stat_activity shows which."
  )
}

extension Observation {
  package static func shardWaiting(_ shard: ShardName, reason: String) -> Self {
    Self(.shardWaiting, shard).with(.reason, reason)
  }
}

extension Fact {
  package static let shardRefused = Fact(
    "e32d72bc781d427ebbbb86c08aaae3df", .error, "Shard not started: events are still being appended",
    meaning:
      "With start = \"inline-handover\" the shard takes over from the application, so it can start only while nothing is being appended (TM213). The error names the writer.",
    action:
      "Stop the application and every other writer, or end the transaction that the error names; the daemon tries again after retry_in. `tidemark check` makes the same test.",
    repeats: .page)
}

extension Observation {
  package static func shardRefused(_ shard: ShardName, failure: Problem, retryIn delay: Duration) -> Self {
    Self(.shardRefused, shard, failure: failure).with(.retryIn, delay)
  }
}

extension Fact {
  package static let shardMismatched = Fact(
    "5f0c9a3be1d24a7d9a0b6f2c48d7e915", .error, "Shard not started: its position and its tables do not belong together",
    meaning:
      "The shard has no position although its tables have rows or another shard fills them, as after a projection was renamed; or it has one and a table is empty, as after a table was created again; or the event store began anew (TM216). Each event would count twice, or not at all, so the shard applies nothing.",
    action:
      "Read error and hint: `tidemark move` carries the position of a renamed projection over, `tidemark rebuild` fills an empty table. The daemon tries again after retry_in.",
    repeats: .page)
}

extension Observation {
  package static func shardMismatched(_ shard: ShardName, failure: Problem, retryIn delay: Duration) -> Self {
    Self(.shardMismatched, shard, failure: failure).with(.retryIn, delay)
  }
}

extension Fact {
  package static let shardMoved = Fact(
    "3c9e5a7d41f84b06a2d8e0b97c15f36a", .error, "Shard waits: another program moved its position",
    meaning:
      "The row of the shard in mt_event_progression is not where Tidemark left it: a host rebuilt or ran a projection of the same name, or a person wrote or deleted it (TM218). Pages from there would count events twice or leave them out, so the shard applies nothing, also after a restart.",
    action:
      "Stop what writes the row. Then `tidemark start NAME --from-record` continues where Tidemark left it, `--from-here` where the row is now, and `tidemark rebuild` fills the tables again. The daemon looks again after retry_in.",
    repeats: .page)
}

extension Observation {
  package static func shardMoved(_ shard: ShardName, failure: Problem, retryIn delay: Duration) -> Self {
    Self(.shardMoved, shard, failure: failure).with(.retryIn, delay)
  }
}

extension Fact {
  package static let tablesReplaced = Fact(
    "b7d1c05e6a924f0e8c53d2f94a1be067", .warning, "A table of the shard is another one than before",
    meaning:
      "A table was dropped and created again, or restored, while the shard stood at its position. It has rows, so the shard continues.",
    action: "If the table does not hold all events up to the position, run `tidemark rebuild`.")
}

extension Observation {
  package static func tablesReplaced(_ shard: ShardName, failure: Problem) -> Self {
    Self(.tablesReplaced, shard, failure: failure)
  }
}

extension Fact {
  package static let shardEnded = Fact(
    "6863b117c2f548bf997faea2e6993ebb", .info, "Shard ended",
    meaning:
      "The shard's agent finished its page and ended, because the daemon is stopping or the projection was removed or changed.",
    action: "Nothing.")
}

extension Observation {
  package static func shardEnded(_ shard: ShardName, position: Int64?) -> Self {
    Self(.shardEnded, shard).with(.position, position)
  }
}
