/// Receives what the daemon notices. Called from any task; must not block.
package protocol Observer: Sendable {
  /// - Parameter database: the name of one of several databases; nil for what concerns the node, or where there is only one.
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

/// Adds the database to whatever is observed there.
package struct DatabaseObserver: Observer {
  private let next: any Observer
  private let name: String

  package init(_ next: any Observer, database name: String) {
    self.next = next
    self.name = name
  }

  package func observe(_ observation: Observation, in database: String?) { next.observe(observation, in: name) }
}
