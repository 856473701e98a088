package import Logging
import Systemd

/// Log entries in the systemd journal, with a field for each piece of data.
///
/// `shard` becomes `TIDEMARK_SHARD=`, and so on; `message_id` and `sqlstate` become the journal's own `MESSAGE_ID=` and `ERROR_CODE=`.
package struct JournalLogHandler: LogHandler {
  package var logLevel = Logger.Level.trace
  package var metadata: Logger.Metadata = [:]

  package init() {}

  package subscript(metadataKey key: String) -> Logger.MetadataValue? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  package func log(event: LogEvent) {
    Journal.send(
      Self.fields(event.level, "\(event.message)", metadata.merging(event.metadata ?? [:]) { _, new in new }))
  }

  /// The message is followed by its data, as most people read entries without asking for fields.
  static func fields(
    _ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata
  ) -> [(name: String, value: String)] {
    let data = metadata.sorted { $0.key < $1.key }.map { (name: $0.key, value: "\($0.value)") }
    let text = data.filter { $0.name != "message_id" }.reduce(into: message) {
      $0 += " \($1.name)=\(quotedField($1.value))"
    }
    return [("MESSAGE", text), ("PRIORITY", "\(level.priority)"), ("SYSLOG_IDENTIFIER", "tidemark")]
      + data.map { (journalName($0.name), $0.value) }
  }

  private static func journalName(_ name: String) -> String {
    switch name {
    case "message_id": "MESSAGE_ID"
    case "sqlstate": "ERROR_CODE"
    default: "TIDEMARK_" + name.uppercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? "\($0)" : "_" }.joined()
    }
  }
}

extension Logger.Level {
  /// syslog(3)'s.
  fileprivate var priority: Int {
    switch self {
    case .critical: 2
    case .error: 3
    case .warning: 4
    case .notice: 5
    case .info: 6
    case .debug, .trace: 7
    }
  }
}
