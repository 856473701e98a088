package import Rules

// The process as a whole.

extension Fact {
  package static let started = Fact(
    "9318c3e2d6e141b59e565fb9303e3bf5", .notice, "Tidemark started",
    meaning: "The daemon has read its settings and is starting.",
    action: "Nothing.")
}

extension Observation {
  package static func started(version: String, mode: NodeMode, shards: Int) -> Self {
    Self(.started).with(.version, version).with(.mode, mode).with(.shardCount, shards)
  }
}

extension Fact {
  package static let ready = Fact(
    "eb9b6f5d705740d0919a767bbe81485f", .notice, "Ready",
    meaning: "The database answered, its schema is complete, and every agent is running.",
    action: "Nothing.")
}

extension Observation {
  package static var ready: Self { Self(.ready) }
}

extension Fact {
  package static let stopping = Fact(
    "8ecc5d27b9f740ee8c5de8cff057a382", .notice, "Stopping: shards finish their pages",
    meaning: "The daemon was told to stop, and starts no further page.",
    action: "Nothing. A second SIGTERM ends it at once; pages in progress are then rolled back.")
}

extension Observation {
  package static var stopping: Self { Self(.stopping) }
}

extension Fact {
  package static let stopped = Fact(
    "5f51e5bc8d0146b588292756254dd3af", .notice, "Stopped",
    meaning: "The daemon has ended; positions and read models are as the last pages left them.",
    action: "Nothing.")
}

extension Observation {
  package static var stopped: Self { Self(.stopped) }
}

extension Fact {
  package static let stopTimedOut = Fact(
    "548d282576224a68a180e976d85044eb", .warning, "Stopped after stop_timeout: pages in progress were rolled back",
    meaning:
      "Pages took longer than stop_timeout. They were rolled back, and the daemon will apply them after its next start.",
    action:
      "Nothing is lost. Raise stop_timeout, and TimeoutStopSec= of the unit with it, or make the projection's statements faster."
  )
}

extension Observation {
  package static var stopTimedOut: Self { Self(.stopTimedOut) }
}

extension Fact {
  package static let reloaded = Fact(
    "f68dcc30a78943f0bcf4cd7b1a1d21f9", .notice, "Settings reloaded",
    meaning:
      "The daemon read its settings again. Fields say which shards were added, removed and changed; the others are not affected.",
    action: "Nothing.")
}

extension Observation {
  package static func reloaded(added: [ShardName], removed: [ShardName], changed: [ShardName]) -> Self {
    Self(.reloaded).with(.added, added).with(.removed, removed).with(.changed, changed)
  }
}

extension Fact {
  package static let reloadRefused = Fact(
    "a671cc66f6bc46fc8e0de5be067bc7f3", .error, "Settings not reloaded: they have problems; nothing changed",
    meaning:
      "At least one file has a problem; there is one such entry per problem. The daemon continues with the settings it has.",
    action: "Fix the file, verify it with `tidemark check`, and reload again.")
}

extension Observation {
  package static func reloadRefused(problem: String) -> Self {
    Self(.reloadRefused).with(.problem, problem)
  }
}

extension Fact {
  package static let restartNeeded = Fact(
    "fcf9e33be2bf4f6184601e96a02ea08e", .warning, "A changed setting needs a restart",
    meaning: "The key has a new value in the file, but the daemon reads it only when it starts.",
    action: "Restart the service when convenient.")
}

extension Observation {
  package static func restartNeeded(key: String) -> Self {
    Self(.restartNeeded).with(.key, key)
  }
}

extension Fact {
  package static let failuresLeftOut = Fact(
    "72e12f4482a1440ea00c7e70f53f047e", .warning, "Failures left out of the log: it has many of this kind",
    meaning:
      "A shard, or a database, met more than 20 different failures of one kind within a minute, such as events that each fail with a text of their own. The log has the first 20. The field about names the kind; count comes after the minute, and says how many were left out.",
    action: "For dead letters, `tidemark dead-letters list` has all of them. Fix what they have in common.")
}

extension Observation {
  /// - Parameter count: nil while they are counted.
  package static func failuresLeftOut(_ shard: ShardName?, of fact: Fact, count: Int?) -> Self {
    Self(.failuresLeftOut, shard).with(.about, fact.message).withKnown(.count, count)
  }
}

extension Fact {
  package static let logLost = Fact(
    "b0c8a3f15d2e4a7b9c6d1e8f2a4b7c90", .warning, "Entries of this log were lost: nobody read it",
    meaning:
      "The reader of the log (the journal, a pipe, a terminal) took nothing for so long that the queue was full. The entries that came then, as many as the count says, are missing here. Nothing waited for them: events were applied meanwhile.",
    action: "Find out why the reader hung. `tidemark status` shows the state of every shard.")
}

extension Observation {
  package static func logLost(count: Int) -> Self { Self(.logLost).with(.count, count) }
}

extension Fact {
  package static let descriptorsShort = Fact(
    "3e7d0b5c9a6f4182b4d8e1f07c2a9d56", .warning, "The limit of open files is lower than these settings may need",
    meaning:
      "With all sessions and plugins of the settings in use, the process would have more files open than it may. Sessions that find no room are tried again, and their shards wait.",
    action: "Raise LimitNOFILE= of the unit (or ulimit -n), or lower database.pool_size.")
}

extension Observation {
  package static func descriptorsShort(limit: Int, needed: Int) -> Self {
    Self(.descriptorsShort).with(.limit, limit).with(.needed, needed)
  }
}

extension Fact {
  package static let fileExposed = Fact(
    "a41c7e5d93b24f60b8d2f1c6e07a5948", .warning, "Others may read or write a file of the settings",
    meaning:
      "A file that holds a password may be read by others, or one that decides what the daemon runs (the settings, the files they name, plugins, the folders these are in) may be written by others. Everything works all the same; one entry names each file.",
    action: "Run the command in `hint`.")
}

extension Observation {
  package static func fileExposed(failure: Problem) -> Self { Self(.fileExposed, failure: failure) }
}
