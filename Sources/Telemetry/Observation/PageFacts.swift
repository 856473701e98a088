package import Rules

// A page of events, and the events that became dead letters.

extension Fact {
  package static let pageApplied = Fact(
    "75d4560d439c453095edb0a10bbf0140", .debug, "Page applied",
    meaning: "The shard applied events floor+1 to ceiling and moved its position, in one transaction.",
    action: "Nothing.")
}

extension Observation {
  package static func pageApplied(_ shard: ShardName, _ page: Page, took: Duration) -> Self {
    Self(.pageApplied, shard).with(.floor, page.floor).with(.ceiling, page.ceiling).with(.took, took)
  }
}

extension Fact {
  package static let pageSlow = Fact(
    "c2f6a1f0b86c4c1c9b7d1a1d0d9c5e27", .warning, "Page is running longer than expected",
    meaning:
      "The statements of a page have been running, or waiting for a lock or a free session, for this long. The shard waits for them; other shards continue. The field reason names the sessions that hold a lock it waits for.",
    action:
      "End the session that reason names, with pg_terminate_backend(pid) or at its client; without a reason, make the statement faster."
  )
}

extension Observation {
  /// - Parameter hindrance: for what the page waits, if that is known.
  package static func pageSlow(
    _ shard: ShardName, _ page: Page, for length: Duration, hindrance: String? = nil
  ) -> Self {
    Self(.pageSlow, shard).with(.floor, page.floor).with(.ceiling, page.ceiling).with(.for, length)
      .withKnown(.reason, hindrance)
  }
}

extension Fact {
  package static let pageNarrowed = Fact(
    "3f0b7c52d8a94c0e8d51b6f29e70a4c1", .notice, "Page was too much at once; trying fewer events",
    meaning:
      "A page failed in a way that may depend on how many events it has: a timeout, memory, locks, temporary files, a limit of the server, or a session that is lost under it again and again. It was rolled back. The shard takes half as many sequence numbers at once, down to a single one before the failure policy decides, and slowly more again later.",
    action:
      "Nothing, unless it is too slow that way: then raise the limit that the error and the hint name, or make the statement faster.",
    repeats: .page)
}

extension Observation {
  package static func pageNarrowed(_ shard: ShardName, failure: Problem, width: Int64) -> Self {
    Self(.pageNarrowed, shard, failure: failure).with(.width, width)
  }
}

extension Fact {
  package static let deadLetter = Fact(
    "5b0cfb0a2f3344d7a4ad8a0f0a6d4b11", .error, "An event failed and became a dead letter; the shard continues",
    meaning:
      "A statement or a plugin fails on this event and not on the events around it. tidemark.dead_letter has the event with its error.",
    action:
      "`tidemark dead-letters show` shows what failed. Fix the statement or the data, then run `tidemark dead-letters replay`, or `discard` what does not matter. The log repeats the same failure of a shard after a minute, two, and so on; `list` has them all.",
    repeats: .letters)
}

extension Observation {
  package static func deadLetter(_ shard: ShardName, sequence: Int64, failure: Problem) -> Self {
    Self(.deadLetter, shard, failure: failure).with(.sequence, sequence)
  }
}
