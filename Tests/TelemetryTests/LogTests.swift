import Foundation
import Rules
import Synchronization
import Testing

@testable import Telemetry

@Suite struct `An entry of the log` {
  @Test func `has fields of its own in the journal`() {
    let fields = Dictionary(
      uniqueKeysWithValues: JournalLog.fields(
        LogEntry(
          .error, "Shard paused",
          [
            "shard": "Trip:All", "sqlstate": "22012", "message_id": "481ee743", "retry_in": "30 s",
            "error": "a \"b\"\nc",
          ])
      ).map { ($0.name, $0.value) })
    #expect(
      fields == [
        "MESSAGE": #"Shard paused error="a \"b\"\nc" retry_in="30 s" shard=Trip:All sqlstate=22012"#,
        "PRIORITY": "3", "SYSLOG_IDENTIFIER": "tidemark", "MESSAGE_ID": "481ee743", "ERROR_CODE": "22012",
        "TIDEMARK_SHARD": "Trip:All", "TIDEMARK_RETRY_IN": "30 s", "TIDEMARK_ERROR": "a \"b\"\nc",
      ])
  }

  @Test func `of a plugin has its shard, its words and its level`() {
    let sink = Sink()
    let observer = LogObserver(sink, level: .debug)
    observer.observe(
      .pluginSaid(ShardName(projection: "Plug"), level: .warning, text: "low on stamps"), in: "main")
    let fields = Dictionary(
      uniqueKeysWithValues: JournalLog.fields(sink.entries.withLock { $0 }[0]).map { ($0.name, $0.value) })
    #expect(
      fields.filter { $0.key != "MESSAGE_ID" } == [
        "MESSAGE": #"Message from the plugin database=main shard=Plug:All text="low on stamps""#, "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "tidemark", "TIDEMARK_SHARD": "Plug:All", "TIDEMARK_TEXT": "low on stamps",
        "TIDEMARK_DATABASE": "main",
      ])
  }

  @Test func `leaves values of events out where the settings say so`() {
    let sink = Sink()
    let observer = LogObserver(sink, level: .debug)
    observer.showsValues = false
    let shard = ShardName(projection: "Plug")
    let failure = Problem("bad \"secret\"", code: .sqlState("22P02"), detail: "secret", hint: "secret", sequence: 7)
    observer.observe(.deadLetter(shard, sequence: 7, failure: failure))
    observer.observe(.pluginSaid(shard, level: .warning, text: "secret"))
    observer.observe(.serverNotice(severity: "NOTICE", message: "secret"))
    let entries = sink.entries.withLock { $0 }
    #expect(entries.count == 3)
    #expect(!entries.contains { "\($0.fields)".contains("secret") }, "\(entries)")
    #expect(entries[0].fields["sequence"] == "7" && entries[0].fields["sqlstate"] == "22P02")
    observer.showsValues = true
    observer.observe(.pluginSaid(shard, level: .warning, text: "secret"))
    #expect(sink.entries.withLock { $0 }.last?.fields["text"] == "secret")
  }

  @Test(arguments: [
    (LogLevel.critical, "2"), (.error, "3"), (.warning, "4"), (.notice, "5"), (.info, "6"), (.debug, "7"),
  ])
  func `has the priority of its level`(level: LogLevel, priority: String) {
    let fields = JournalLog.fields(LogEntry(level, "x", [:]))
    #expect(fields.first { $0.name == "PRIORITY" }?.value == priority)
  }

  @Test(arguments: [
    ("plain", "plain"), ("two words", "\"two words\""), ("", "\"\""), ("a=b", "\"a=b\""), ("q\"q", "\"q\\\"q\""),
    ("line\nerror forged=1", "\"line\\nerror forged=1\""), ("\u{1B}[31m", "\"\\u{1b}[31m\""),
  ])
  func `quotes what a server or a file said, so that nothing can forge another`(value: String, quoted: String) {
    #expect(quotedField(value) == quoted)
  }

  @Test func `of a changed projection says with which command it is rebuilt`() {
    let changed = Observation.definitionChanged(ShardName(projection: "Trip", version: 2), position: 7)
    #expect(changed[.hint] == "tidemark rebuild Trip:V2:All")
  }

  /// Scripts read these fields. With TIDEMARK_RECORD set, the file is written anew: look at what changes.
  @Test func `of each fact is what it was`() throws {
    let golden = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden/entries.txt")
    let sink = Sink()
    let observer = LogObserver(sink, level: .debug)
    for observation in Sample.observations { observer.observe(observation) }
    let text = sink.entries.withLock { $0 }.map { entry in
      let fields = entry.fields.sorted { $0.key < $1.key }
      return "\(entry.level.name) \(entry.message)\n" + fields.map { "  \($0.key)=\($0.value)\n" }.joined()
    }.joined()
    if ProcessInfo.processInfo.environment["TIDEMARK_RECORD"] != nil {
      try text.write(to: golden, atomically: true, encoding: .utf8)
    }
    #expect(text == (try String(contentsOf: golden, encoding: .utf8)))
  }

  @Test func `is left out below the level, which can change`() {
    let sink = Sink()
    let observer = LogObserver(sink, level: .notice)
    observer.observe(.markMoved(from: 1, to: 2))
    observer.observe(.ready)
    observer.level = .debug
    observer.observe(.markMoved(from: 2, to: 3))
    #expect(sink.entries.withLock { $0 }.map(\.message) == ["Ready", "High-water mark moved"])
  }
}

private final class Sink: Log {
  let entries = Mutex<[LogEntry]>([])

  func write(_ entry: LogEntry) { entries.withLock { $0.append(entry) } }
}
