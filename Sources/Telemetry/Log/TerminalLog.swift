import Concurrency
import Glibc
import Rules

/// One line per entry on standard error, for people: time, level, sentence, fields. Coloured on a terminal.
package struct TerminalLog: Log {
  private let isColoured: Bool

  package init() { isColoured = isatty(STDERR_FILENO) == 1 && getenv("NO_COLOR") == nil }

  package func write(_ entry: LogEntry) {
    let fields = entry.fields.filter { $0.key != "message_id" }.sorted { $0.key < $1.key }
    var line = "\(timeOfDay(entry.time)) \(paint(label(entry.level), colour(entry.level))) \(entry.message)"
    for (name, value) in fields { line += " \(paint("\(name)=", "2"))\(quotedField(value))" }
    line += "\n"
    // One write per entry, so that lines of several threads never mix.
    writeAll(line, to: STDERR_FILENO)
  }

  private func label(_ level: LogLevel) -> String {
    switch level {
    case .debug: "debug  "
    case .info: "info   "
    case .notice: "notice "
    case .warning: "warning"
    case .error, .critical: "error  "
    }
  }

  private func colour(_ level: LogLevel) -> String {
    switch level {
    case .debug, .info: "2"
    case .notice: "32"
    case .warning: "33"
    case .error, .critical: "31;1"
    }
  }

  private func paint(_ text: String, _ code: String) -> String { isColoured ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text }

  private func timeOfDay(_ time: Duration) -> String {
    var seconds = time_t(time.components.seconds)
    var parts = tm()
    localtime_r(&seconds, &parts)
    func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
    let milliseconds = String(time.components.attoseconds / 1_000_000_000_000_000 + 1000).dropFirst()
    return "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)).\(milliseconds)"
  }
}

/// A value as written after `name=`: quoted if necessary, control characters escaped, so that text from a server or a file cannot forge
/// a second entry.
func quotedField(_ value: String) -> String {
  let plain = value.unicodeScalars.allSatisfy { $0.isPrintable && $0 != " " && $0 != "\"" && $0 != "=" }
  if plain, !value.isEmpty { return value }
  return "\"" + printable(value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")) + "\""
}
