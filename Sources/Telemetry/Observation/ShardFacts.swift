package import Rules

// A shard, from its start to its end.

extension Fact {
  package static let shardStarted = Fact(
    "c3cf5005745646239e42d8517fbe7317", .notice, "Shard started",
    meaning: "The shard goes on from this position.",
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
    meaning: "The shard has reached the high-water mark after having been far behind.",
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
      "A failure that often passes by itself: a deadlock, a timeout, a lost session. The page was rolled back.",
    action: "Nothing, unless it goes on. Then the error says what to look at.",
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
    "481ee743d9724454b0c9d1256821bff4", .error, "Shard paused: its page fails",
    meaning:
      "An event or a statement fails. The page was rolled back, other shards go on; this one tries again after retry_in.",
    action:
      "Read error, source and sequence. Mend the statement and reload, or mend the data. `tidemark check` finds statements that cannot work.",
    repeats: .page)
}

extension Observation {
  package static func shardPaused(_ shard: ShardName, failure: Problem, for delay: Duration) -> Self {
    Self(.shardPaused, shard, failure: failure).with(.retryIn, delay)
  }
}

extension Fact {
  package static let shardResumed = Fact(
    "772cdab1d7314572bab2353aabe13c29", .notice, "Shard goes on",
    meaning: "A page was applied after failures.",
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
    "be8a1f14f62c4bd6a1a0a7b8c3b7a9d5", .notice, "Shard waits, as it was told to",
    meaning:
      "An operator, a rule with \"pause all\" or \"stop all\", or a rebuild wants the shard to wait; the field by says who. It applies nothing meanwhile.",
    action:
      "`tidemark resume` or `tidemark start` lets it go on. For a rebuild: nothing, it goes on when that has ended.")
}

extension Observation {
  package static func shardHalted(_ shard: ShardName, by who: String, for length: Duration?) -> Self {
    Self(.shardHalted, shard).with(.by, who).with(.for, length)
  }
}

extension Fact {
  package static let deadLettersRemoved = Fact(
    "79dad8d40b364e50ba61a8eb6731df84", .warning, "Dead letters above the shard's position were removed",
    meaning:
      "Somebody set the position back, or took it away. Events above it are applied again, and one that still fails becomes a dead letter again.",
    action: "Nothing, if that was meant. Otherwise look who writes to mt_event_progression.")
}

extension Observation {
  package static func deadLettersRemoved(_ shard: ShardName, position: Int64, count: Int) -> Self {
    Self(.deadLettersRemoved, shard).with(.position, position).with(.count, count)
  }
}

extension Fact {
  package static let definitionChanged = Fact(
    "d8fb6b1d3f6d4a5c8c7f0f4a2e9b6c33", .warning,
    "The projection's statements have changed since its position was reached",
    meaning:
      "Events up to the position were applied with other statements, and are not applied again by themselves.",
    action:
      "If the read model has to follow, `tidemark rebuild` it, or raise `version` to build a new one beside it.")
}

extension Observation {
  package static func definitionChanged(_ shard: ShardName, position: Int64) -> Self {
    Self(.definitionChanged, shard).with(.position, position).with(.hint, "tidemark rebuild \(shard)")
  }
}

extension Fact {
  package static let shardStopped = Fact(
    "9b5b7d45605445efb2c876f107e40521", .error, "Shard stopped",
    meaning:
      "A statement can work for no event, a plugin refuses to run, or whatever fails is not to be tried again or passed over. Where the error says that the position was moved: a second daemon, or a host that runs a shard of the same name, works on this one too. The page was rolled back and the position stays; other shards go on.",
    action:
      "Read error and source. Mend the statement or the plugin and reload, or mend what the error names and say `tidemark start NAME`. Where the position was moved, end whoever else moves it first."
  )
}

extension Observation {
  package static func shardStopped(_ shard: ShardName, failure: Problem) -> Self {
    Self(.shardStopped, shard, failure: failure)
  }
}

extension Fact {
  package static let shardWaiting = Fact(
    "5cc9fff179ee44349b29f12d2bbc5e3b", .notice, "Shard waits to begin",
    meaning:
      "Somebody holds the row of the position: the last page of a node that has just died, for a moment.",
    action:
      "Nothing, unless it never begins: then some transaction stays open. pg_blocking_pids(pid) in pg_stat_activity shows which."
  )
}

extension Observation {
  package static func shardWaiting(_ shard: ShardName, reason: String) -> Self {
    Self(.shardWaiting, shard).with(.reason, reason)
  }
}

extension Fact {
  package static let shardRefused = Fact(
    "e32d72bc781d427ebbbb86c08aaae3df", .error, "Shard does not start: the store is not at rest",
    meaning:
      "start = \"inline-handover\" begins where the application ended that kept the read model itself, and something is still being appended (TM213). The error says by whom.",
    action:
      "Stop the application, and whatever else appends, or end the transaction that the error names; after retry_in the shard is tried again by itself. `tidemark check` asks the same.",
    repeats: .page)
}

extension Observation {
  package static func shardRefused(_ shard: ShardName, failure: Problem, retryIn delay: Duration) -> Self {
    Self(.shardRefused, shard, failure: failure).with(.retryIn, delay)
  }
}

extension Fact {
  package static let shardEnded = Fact(
    "6863b117c2f548bf997faea2e6993ebb", .info, "Shard ended",
    meaning:
      "The shard's agent finished its page and ended, because the daemon stops or the projection was removed or changed.",
    action: "Nothing.")
}

extension Observation {
  package static func shardEnded(_ shard: ShardName, position: Int64?) -> Self {
    Self(.shardEnded, shard).with(.position, position)
  }
}
