package import Rules

// A rebuild of a read model.

extension Fact {
  package static let rebuildStarted = Fact(
    "ad21a94b69b543c9949e94d1535d770f", .notice, "Rebuild started",
    meaning:
      "The shard's events are replayed into new tables beside the old ones, of which readers and the live shard notice nothing; in place, into the old tables, which are emptied first; or into a plugin with effects outside. For the last two the live shard waits. With resumed, a replay that was interrupted goes on.",
    action: "Nothing; `tidemark rebuild` of the same shard shows how far it is, with --abort it ends it.")
}

extension Observation {
  package static func rebuildStarted(_ shard: ShardName, position: Int64, resumed: Bool) -> Self {
    Self(.rebuildStarted, shard).with(.position, position).with(.resumed, resumed)
  }
}

extension Fact {
  package static let rebuildHindered = Fact(
    "c7a704e72d784baa9f12824c7ec7b61e", .notice, "The exchange of a rebuilt read model was put off",
    meaning:
      "Readers held the old tables, or a transaction has a snapshot from before the new ones were full. The live shard goes on, and the exchange is tried again.",
    action:
      "Nothing. After 20 times the rows are copied instead of the tables swapped, unless the command said --by swap; then end the reader that stands in the way."
  )
}

extension Observation {
  package static func rebuildHindered(_ shard: ShardName, reason: String) -> Self {
    Self(.rebuildHindered, shard).with(.reason, reason)
  }
}

extension Fact {
  package static let rebuildRetrying = Fact(
    "03e8c63733b14124a5d428f8c62cbbbe", .warning, "A page of the rebuild failed and will be tried again",
    meaning:
      "The failure is likely to be over soon: a lock, a server that restarts, a plugin that does not answer. With new tables the old read model serves meanwhile, and its shard goes on.",
    action:
      "Nothing, unless it does not end: then the error says what is in the way. `tidemark rebuild` with --abort ends the rebuild."
  )
}

extension Observation {
  /// - Parameter attempt: failures in a row; of the exchange, how often it has failed so far.
  package static func rebuildRetrying(_ shard: ShardName, failure: Problem, retryIn delay: Duration, attempt: Int)
    -> Self
  {
    Self(.rebuildRetrying, shard, failure: failure).with(.retryIn, delay).with(.attempt, attempt)
  }
}

extension Fact {
  package static let rebuildCompared = Fact(
    "91b5509f460c45fda1f2ff76b5f15e29", .notice, "A rebuilt read model was compared with the old one",
    meaning: "Nothing was exchanged. The new tables wait in a schema of their own.",
    action: "`tidemark rebuild` exchanges them, with --abort it removes them.")
}

extension Observation {
  package static func rebuildCompared(_ shard: ShardName, position: Int64) -> Self {
    Self(.rebuildCompared, shard).with(.position, position)
  }
}

extension Fact {
  package static let rebuildExchanged = Fact(
    "8438ff359875439fb16e4d6f6f2fd4cb", .notice, "The rebuilt read model took the old one's place",
    meaning:
      "In one commit, by a swap of the tables or by a copy of the rows that differ; the reason says why that way. By replay: a plugin with effects outside was handed every event again, and nothing was exchanged. The live shard goes on from the same position.",
    action: "Nothing.")
}

extension Observation {
  /// - Parameter took: of what the live shard had to wait for.
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
      "What was done is kept for another try. With new tables the old read model is untouched; in place it is filled up to the shard's position. The live shard goes on from there either way.",
    action:
      "Mend what the error names, then say `tidemark rebuild` again: it goes on where it was. With --abort it is removed."
  )
}

extension Observation {
  package static func rebuildFailed(_ shard: ShardName, failure: Problem) -> Self {
    Self(.rebuildFailed, shard, failure: failure)
  }
}

extension Fact {
  package static let rebuildAborted = Fact(
    "3f3ca2c8e61e42ccb88d07ec765dc544", .notice, "Rebuild ended by an operator",
    meaning:
      "With --abort. The new tables were removed, and the old read model is untouched; in place, the shard goes on filling it from its position.",
    action: "Nothing.")
}

extension Observation {
  package static func rebuildAborted(_ shard: ShardName) -> Self {
    Self(.rebuildAborted, shard)
  }
}
