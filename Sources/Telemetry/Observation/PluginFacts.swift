package import Rules

// A projection's own program or library.

extension Fact {
  package static let pluginStarted = Fact(
    "90e1fa61903146e1aac2e57998178197", .info, "Plugin started",
    meaning: "The shard's program is running, and the daemon waits for it to report ready.",
    action: "Nothing.")
}

extension Observation {
  package static func pluginStarted(_ shard: ShardName, pid: Int?) -> Self {
    Self(.pluginStarted, shard).with(.pid, pid)
  }
}

extension Fact {
  package static let pluginSaid = Fact(
    "c1f7f90f8e2b4c97a53aa5ff5dd97f31", .info, "Message from the plugin",
    meaning:
      "A line the plugin wrote to standard error (logged as info), or a log message it sent (at the level it chose).",
    action: "Follow the text, if it asks for something; its author knows more.")
}

extension Observation {
  /// - Parameter level: the one the plugin chose, instead of the fact's own.
  package static func pluginSaid(_ shard: ShardName, level: LogLevel, text: String) -> Self {
    Self(.pluginSaid, shard, level: level).with(.text, text)
  }
}

extension Fact {
  package static let pluginLinesDropped = Fact(
    "b0c3694751f3449ebf5cd7630e4ff700", .warning, "Lines from the plugin dropped from the log",
    meaning: "The plugin wrote more than 100 lines in five seconds. The field count says how many are not in the log.",
    action: "Make the plugin log less.")
}

extension Observation {
  package static func pluginLinesDropped(_ shard: ShardName, count: Int) -> Self {
    Self(.pluginLinesDropped, shard).with(.count, count)
  }
}

extension Fact {
  package static let pluginLost = Fact(
    "8ffdc7ebd0b04c59b8bf7288e68ecbbb", .warning, "Plugin exited unexpectedly",
    meaning:
      "The plugin exited or was killed. The daemon starts it again for the next page, and hands over again a page it had not answered.",
    action:
      "Read error and the plugin's last lines; `tidemark plugin try` runs it over a few events without moving a position.",
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
      "The daemon ended the plugin: its shard ended, or the plugin broke the protocol, as an earlier entry says.",
    action: "Nothing.")
}

extension Observation {
  package static func pluginEnded(_ shard: ShardName, how: String) -> Self {
    Self(.pluginEnded, shard).with(.how, how)
  }
}
