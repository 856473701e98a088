package import Rules

// A rebuild of a read model.

extension Fact {
  package static let rebuildStarted = Fact(
    "ad21a94b69b543c9949e94d1535d770f", .notice, "Rebuild started",
    meaning:
      "The daemon replays the shard's events into new tables beside the old ones, unnoticed by readers and the live shard; with --in-place into the old tables, which it empties first; or into a plugin with external effects. In the last two cases the live shard waits. With resumed, it continues an interrupted replay.",
    action: "Nothing. `tidemark rebuild` of the same shard shows its progress; with --abort it ends the rebuild.")
}

extension Observation {
  package static func rebuildStarted(_ shard: ShardName, position: Int64, resumed: Bool) -> Self {
    Self(.rebuildStarted, shard).with(.position, position).with(.resumed, resumed)
  }
}

extension Fact {
  package static let rebuildHindered = Fact(
    "c7a704e72d784baa9f12824c7ec7b61e", .notice, "Exchange of a rebuilt read model postponed",
    meaning:
      "Readers held the old tables, or a transaction has a snapshot from before the new ones were complete. The live shard continues, and the daemon tries the exchange again.",
    action:
      "Nothing. After 20 attempts the daemon copies the rows instead of swapping the tables, unless the command said --by swap; then end the reader that blocks it."
  )
}

extension Fact {
  package static let rebuildWaiting = Fact(
    "d24f6b8e01c7439da5f3c0b97e18a264", .notice, "Rebuild is waiting",
    meaning:
      "The rebuild cannot begin or end yet: the field reason names the session or the page that it waits for. The live shard is not affected.",
    action:
      "Nothing, unless it lasts. Then `tidemark status` shows the shard and the rebuild, and pg_stat_activity the sessions named tidemark."
  )
}

extension Observation {
  package static func rebuildWaiting(_ shard: ShardName, reason: String) -> Self {
    Self(.rebuildWaiting, shard).with(.reason, reason)
  }
}

extension Observation {
  package static func rebuildHindered(_ shard: ShardName, reason: String) -> Self {
    Self(.rebuildHindered, shard).with(.reason, reason)
  }
}

extension Fact {
  package static let rebuildRetrying = Fact(
    "03e8c63733b14124a5d428f8c62cbbbe", .warning, "A page of the rebuild failed; trying again",
    meaning:
      "The failure is likely to go away: a lock, a server that restarts, a plugin that does not answer. With new tables the old read model keeps serving readers, and its shard continues.",
    action:
      "Nothing, unless it persists: then the error names the cause. `tidemark rebuild` with --abort ends the rebuild."
  )
}

extension Observation {
  /// - Parameter attempt: failures in a row; for an exchange, how often it has failed so far.
  package static func rebuildRetrying(_ shard: ShardName, failure: Problem, retryIn delay: Duration, attempt: Int)
    -> Self
  {
    Self(.rebuildRetrying, shard, failure: failure).with(.retryIn, delay).with(.attempt, attempt)
  }
}

extension Fact {
  package static let rebuildCompared = Fact(
    "91b5509f460c45fda1f2ff76b5f15e29", .notice, "Rebuilt read model compared with the old one",
    meaning: "Nothing was exchanged. The new tables wait in a schema of their own.",
    action: "`tidemark rebuild` exchanges them; with --abort it removes them.")
}

extension Observation {
  package static func rebuildCompared(_ shard: ShardName, position: Int64) -> Self {
    Self(.rebuildCompared, shard).with(.position, position)
  }
}

extension Fact {
  package static let rebuildExchanged = Fact(
    "8438ff359875439fb16e4d6f6f2fd4cb", .notice, "Rebuilt read model replaced the old one",
    meaning:
      "The exchange took one commit, by swapping the tables or by copying the rows that differ; the reason says why. With way=replay, a plugin with external effects got every event again, and nothing was exchanged. The live shard continues from the same position.",
    action: "Nothing.")
}

extension Observation {
  /// - Parameter took: how long the live shard had to wait.
  package static func rebuildExchanged(
    _ shard: ShardName, position: Int64, way: RequestedWay, reason: String, took: Duration
  ) -> Self {
    Self(.rebuildExchanged, shard).with(.position, position).with(.way, way).with(.reason, reason).with(.took, took)
  }
}

extension Fact {
  package static let rebuildFailed = Fact(
    "eab19339c3054d87974969d77e79995e", .error, "Rebuild stopped",
    meaning:
      "The work done so far is kept for another attempt. With new tables the old read model is untouched; in place it is filled up to the shard's position. The live shard continues from its position either way.",
    action:
      "Fix what the error names, then run `tidemark rebuild` again: it continues where it was. With --abort it removes the unfinished work."
  )
}

extension Observation {
  package static func rebuildFailed(_ shard: ShardName, failure: Problem) -> Self {
    Self(.rebuildFailed, shard, failure: failure)
  }
}

extension Fact {
  package static let rebuildAborted = Fact(
    "3f3ca2c8e61e42ccb88d07ec765dc544", .notice, "Rebuild aborted by an operator",
    meaning:
      "An operator used --abort. The daemon removed the new tables, and the old read model is untouched; in place, the shard continues to fill it from its position.",
    action: "Nothing.")
}

extension Observation {
  package static func rebuildAborted(_ shard: ShardName) -> Self {
    Self(.rebuildAborted, shard)
  }
}
