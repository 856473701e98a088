package import Rules

// What the process as a whole does.

extension Fact {
  package static let started = Fact(
    "9318c3e2d6e141b59e565fb9303e3bf5", .notice, "Tidemark started",
    meaning: "The daemon has read its settings and begins.",
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
    meaning: "The database answered, its schema is right, and every agent runs.",
    action: "Nothing.")
}

extension Observation {
  package static var ready: Self { Self(.ready) }
}

extension Fact {
  package static let stopping = Fact(
    "8ecc5d27b9f740ee8c5de8cff057a382", .notice, "Stopping: shards finish the page they are in",
    meaning: "The daemon was told to stop, and takes no further page.",
    action: "Nothing. A second SIGTERM ends it at once; the page under way is then rolled back.")
}

extension Observation {
  package static var stopping: Self { Self(.stopping) }
}

extension Fact {
  package static let stopped = Fact(
    "5f51e5bc8d0146b588292756254dd3af", .notice, "Stopped",
    meaning: "The daemon has ended; positions and read models are where the last pages left them.",
    action: "Nothing.")
}

extension Observation {
  package static var stopped: Self { Self(.stopped) }
}

extension Fact {
  package static let stopTimedOut = Fact(
    "548d282576224a68a180e976d85044eb", .warning, "Stopped after stop_timeout: the page under way was rolled back",
    meaning:
      "Pages took longer than stop_timeout. They were rolled back, and will be applied after the next start.",
    action:
      "Nothing is lost. Raise stop_timeout, and TimeoutStopSec= of the unit with it, or make the projection's statements quicker."
  )
}

extension Observation {
  package static var stopTimedOut: Self { Self(.stopTimedOut) }
}

extension Fact {
  package static let reloaded = Fact(
    "f68dcc30a78943f0bcf4cd7b1a1d21f9", .notice, "Settings reloaded",
    meaning:
      "The settings were read again. Fields say which shards were added, removed and changed; all others were not touched.",
    action: "Nothing.")
}

extension Observation {
  package static func reloaded(added: [ShardName], removed: [ShardName], changed: [ShardName]) -> Self {
    Self(.reloaded).with(.added, added).with(.removed, removed).with(.changed, changed)
  }
}

extension Fact {
  package static let reloadRefused = Fact(
    "a671cc66f6bc46fc8e0de5be067bc7f3", .error, "Settings not reloaded: they have problems; nothing was changed",
    meaning:
      "At least one file has a problem. One such entry for each problem; the daemon goes on with the settings it has.",
    action: "Mend the file, look at it with `tidemark check`, and reload again.")
}

extension Observation {
  package static func reloadRefused(problem: String) -> Self {
    Self(.reloadRefused).with(.problem, problem)
  }
}

extension Fact {
  package static let restartNeeded = Fact(
    "fcf9e33be2bf4f6184601e96a02ea08e", .warning, "A changed setting needs a restart",
    meaning: "The key has another value in the file now, but is only read when the daemon starts.",
    action: "Restart the service when it suits you.")
}

extension Observation {
  package static func restartNeeded(key: String) -> Self {
    Self(.restartNeeded).with(.key, key)
  }
}
