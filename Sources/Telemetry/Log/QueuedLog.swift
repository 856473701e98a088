import Concurrency

/// A log behind an ``Outbox``: a reader that is slow, or has stopped, holds up nothing else.
package final class QueuedLog: Log {
  private let outbox: Outbox<LogEntry>

  /// How many entries wait for their reader: some minutes of a busy daemon, and a megabyte at most where they are long.
  package static let limit = 1_000

  package init(_ log: any Log, limit: Int = limit) {
    outbox = Outbox("log", limit: limit, lost: { LogEntry(.logLost(count: $0)) }, send: { log.write($0) })
  }

  package func write(_ entry: LogEntry) { outbox.put(entry) }

  /// For the last words of a process; returns soon where nobody reads them.
  package func drain(within limit: Duration = .seconds(1)) { outbox.drain(within: limit) }
}
