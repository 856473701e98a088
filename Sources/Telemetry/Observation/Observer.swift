/// Receives the daemon's observations. Called from any task; must not block.
package protocol Observer: Sendable {
  /// - Parameter database: the name of one of several databases; nil for the node as a whole, or if there is only one.
  func observe(_ observation: Observation, in database: String?)
}

extension Observer {
  package func observe(_ observation: Observation) { observe(observation, in: nil) }
}

/// Hands each observation to several observers, in order.
package struct Observers: Observer {
  private let all: [any Observer]

  package init(_ all: [any Observer]) { self.all = all }

  package func observe(_ observation: Observation, in database: String?) {
    for observer in all { observer.observe(observation, in: database) }
  }
}

/// Adds the database to every observation.
package struct DatabaseObserver: Observer {
  private let next: any Observer
  private let name: String

  package init(_ next: any Observer, database name: String) {
    self.next = next
    self.name = name
  }

  package func observe(_ observation: Observation, in database: String?) { next.observe(observation, in: name) }
}
