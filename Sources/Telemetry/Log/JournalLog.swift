import Systemd

/// Log entries in the systemd journal, with a field for each piece of data.
///
/// `shard` becomes `TIDEMARK_SHARD=`, and so on; `message_id` and `sqlstate` become the journal's own `MESSAGE_ID=` and `ERROR_CODE=`.
package struct JournalLog: Log {
  package init() {}

  package func write(_ entry: LogEntry) { Journal.send(Self.fields(entry)) }

  /// The data follows the message, since most people read entries without asking for fields.
  static func fields(_ entry: LogEntry) -> [(name: String, value: String)] {
    let data = entry.fields.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
    let text = data.filter { $0.name != "message_id" }.reduce(into: entry.message) {
      $0 += " \($1.name)=\(quotedField($1.value))"
    }
    return [("MESSAGE", text), ("PRIORITY", "\(entry.level.rawValue)"), ("SYSLOG_IDENTIFIER", "tidemark")]
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
