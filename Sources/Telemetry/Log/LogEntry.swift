import Glibc

/// The levels of syslog(3) that the daemon uses, the most severe first.
package enum LogLevel: Int, CaseIterable, Sendable, Comparable {
  case critical = 2
  case error = 3
  case warning = 4
  case notice = 5
  case info = 6
  case debug = 7

  /// - Parameter name: as settings and plugins write it.
  package init?(named name: String) {
    guard let found = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = found
  }

  package var name: String { "\(self)" }

  /// The less severe level is the lesser one.
  package static func < (a: LogLevel, b: LogLevel) -> Bool { a.rawValue > b.rawValue }
}

/// One entry: the constant sentence of the catalogue, with the data in fields.
package struct LogEntry: Sendable {
  package typealias Fields = [String: String]

  package var level: LogLevel
  package var message: String
  package var fields: Fields
  /// When it was observed, since the epoch: it may wait for its reader.
  package var time = Self.now()

  package init(_ level: LogLevel, _ message: String, _ fields: Fields) {
    self.level = level
    self.message = message
    self.fields = fields
  }

  private static func now() -> Duration {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return .seconds(now.tv_sec) + .nanoseconds(now.tv_nsec)
  }
}

/// Where entries go: the journal, a terminal, the list of a test.
package protocol Log: Sendable {
  func write(_ entry: LogEntry)
}
