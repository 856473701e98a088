package import Rules

// A page of events, and those it had to leave behind.

extension Fact {
  package static let pageApplied = Fact(
    "75d4560d439c453095edb0a10bbf0140", .debug, "Page applied",
    meaning: "Events floor+1 to ceiling were applied and the position moved, in one transaction.",
    action: "Nothing.")
}

extension Observation {
  package static func pageApplied(_ shard: ShardName, _ page: Page, took: Duration) -> Self {
    Self(.pageApplied, shard).with(.floor, page.floor).with(.ceiling, page.ceiling).with(.took, took)
  }
}

extension Fact {
  package static let pageSlow = Fact(
    "c2f6a1f0b86c4c1c9b7d1a1d0d9c5e27", .warning, "A page takes long",
    meaning:
      "The statements of a page have been running, or waiting for a lock or a free session, for this long. The shard stands meanwhile; others go on.",
    action:
      "SELECT pid, wait_event_type, query, pg_blocking_pids(pid) FROM pg_stat_activity WHERE application_name = 'tidemark' shows what it waits for. End the session that blocks it, or make the statement quicker."
  )
}

extension Observation {
  package static func pageSlow(_ shard: ShardName, _ page: Page, for length: Duration) -> Self {
    Self(.pageSlow, shard).with(.floor, page.floor).with(.ceiling, page.ceiling).with(.for, length)
  }
}

extension Fact {
  package static let deadLetter = Fact(
    "5b0cfb0a2f3344d7a4ad8a0f0a6d4b11", .error, "An event failed and became a dead letter; the shard goes on",
    meaning:
      "A statement or a plugin fails on this event and on none of the others around it. It is kept in tidemark.dead_letter with its error.",
    action:
      "`tidemark dead-letters show` says what failed. Mend the statement or the data, then `tidemark dead-letters replay`, or `discard` what does not matter. The same failure of a shard is told again after a minute, two, and so on; `list` has them all.",
    repeats: .letters)
}

extension Observation {
  package static func deadLetter(_ shard: ShardName, sequence: Int64, failure: Problem) -> Self {
    Self(.deadLetter, shard, failure: failure).with(.sequence, sequence)
  }
}
