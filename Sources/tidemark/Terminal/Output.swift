import Concurrency
@preconcurrency import Glibc
import Rules
import Systemd

// Everything that a verb prints. Text of events, the server and plugins may be part of it, so controls are written as escapes here; who
// puts such text in a line of its own words makes it `printable`, which also keeps it to that line.

/// Prints the result of a verb to standard output.
func printResult(_ text: String, terminator: String = "\n") { print(printableLines(text), terminator: terminator) }

/// Prints it in place of what the terminal shows.
func printRedrawn(_ text: String) { print("\u{1B}[H\u{1B}[2J" + printableLines(text)) }

/// What a verb says while it goes on: on standard error, so that its result stays readable for programs.
func printNote(_ text: String) {
  fputs((Journal.isStandardError ? "<4>" : "") + printableLines(text) + "\n", stderr)
}

/// Prints to standard error. In the journal the lines become entries of level error, by the prefix of sd-daemon(3).
///
/// - Parameter limit: how long to wait for a reader; nil waits as long as it takes.
func printError(_ text: String, within limit: Duration? = nil) {
  let lines = printableLines(text).split(separator: "\n").map { Journal.isStandardError ? "<3>\($0)" : String($0) }
  writeAll(lines.joined(separator: "\n") + "\n", to: STDERR_FILENO, within: limit)
}

/// Draws a bar in the last line of the terminal, in place of the one before.
func drawBar(_ text: String) {
  fputs("\r\u{1B}[K\(printable(text))", stderr)
  fflush(stderr)
}
