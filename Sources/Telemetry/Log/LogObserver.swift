import Synchronization

/// Turns observations into log entries: the constant sentence of the catalogue, with the data in fields.
package final class LogObserver: Observer {
  private let log: any Log
  private let threshold: Mutex<LogLevel>
  private let values = Mutex(true)

  /// - Parameter level: the lowest level to log.
  package init(_ log: any Log, level: LogLevel) {
    self.log = log
    threshold = Mutex(level)
  }

  package var level: LogLevel {
    get { threshold.withLock { $0 } }
    set { threshold.withLock { $0 = newValue } }
  }

  /// Whether entries may repeat values of events, as errors of the server do.
  package var showsValues: Bool {
    get { values.withLock { $0 } }
    set { values.withLock { $0 = newValue } }
  }

  package func observe(_ observation: Observation, in database: String?) {
    guard observation.level >= level else { return }
    log.write(LogEntry(showsValues ? observation : observation.withoutValues, in: database))
  }
}

extension LogEntry {
  init(_ observation: Observation, in database: String? = nil) {
    // A field of the observation itself comes before one of its failure.
    var fields = Fields(observation.fields.map { ($0.name, $0.text) }, uniquingKeysWith: { $1 })
    fields["message_id"] = observation.fact.id
    if let database { fields["database"] = database }
    self.init(observation.level, observation.fact.message, fields)
  }
}
