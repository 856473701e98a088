package import Rules

// A projection's own program or library.

extension Fact {
  package static let pluginStarted = Fact(
    "90e1fa61903146e1aac2e57998178197", .info, "Plugin started",
    meaning: "The program of the shard runs, and has been asked whether it is ready.",
    action: "Nothing.")
}

extension Observation {
  package static func pluginStarted(_ shard: ShardName, pid: Int?) -> Self {
    Self(.pluginStarted, shard).with(.pid, pid)
  }
}

extension Fact {
  package static let pluginSaid = Fact(
    "c1f7f90f8e2b4c97a53aa5ff5dd97f31", .info, "The plugin says",
    meaning:
      "A line of its standard error, which weighs info, or an entry that it asked for, which weighs what it says.",
    action: "Whatever the text suggests; its author knows.")
}

extension Observation {
  /// - Parameter level: how much its author says it weighs, instead of the fact's own level.
  package static func pluginSaid(_ shard: ShardName, level: LogLevel, text: String) -> Self {
    Self(.pluginSaid, shard, level: level).with(.text, text)
  }
}

extension Fact {
  package static let pluginLinesDropped = Fact(
    "b0c3694751f3449ebf5cd7630e4ff700", .warning, "Lines of the plugin were left out of the log",
    meaning: "It wrote more than 100 lines in five seconds. Count says how many are not in the log.",
    action: "Have the plugin say less.")
}

extension Observation {
  package static func pluginLinesDropped(_ shard: ShardName, count: Int) -> Self {
    Self(.pluginLinesDropped, shard).with(.count, count)
  }
}

extension Fact {
  package static let pluginLost = Fact(
    "8ffdc7ebd0b04c59b8bf7288e68ecbbb", .warning, "The plugin is gone, though nobody asked it to go",
    meaning:
      "It ended or was killed. It is started again for the next page; a page it had not answered for is handed over again.",
    action:
      "Read error and its last words; `tidemark plugin try` runs it over a few events without moving a position.",
    repeats: .plugin)
}

extension Observation {
  package static func pluginLost(_ shard: ShardName, failure: Problem) -> Self {
    Self(.pluginLost, shard, failure: failure)
  }
}

extension Fact {
  package static let pluginEnded = Fact(
    "08c3aef3e49e4ab5af1c7181737d7a92", .info, "Plugin ended",
    meaning:
      "It was asked to end: its shard ended, or it did something that the protocol does not allow, as an entry before this one says.",
    action: "Nothing.")
}

extension Observation {
  package static func pluginEnded(_ shard: ShardName, how: String) -> Self {
    Self(.pluginEnded, shard).with(.how, how)
  }
}
