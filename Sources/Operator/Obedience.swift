package import Books
package import Postgres

/// Waits until the nodes have carried out an operator's request, and says which shards obeyed: a request alone changes nothing.
package struct Obedience: Sendable {
  package enum Outcome: Sendable, Hashable {
    case obeyed
    /// No live node has the shard in its settings; one that starts will obey.
    case noNode
    /// In time; with what is known of the shard.
    case notYet(ShardRequests.Answer?)
  }

  package var serials: [String: Int64]
  package var timeout: Duration

  static let cadence = Duration.milliseconds(50)

  /// - Parameter serials: the number of the request for each shard.
  package init(serials: [String: Int64], timeout: Duration) {
    self.serials = serials
    self.timeout = timeout
  }

  package func run(_ session: Session) async throws -> [String: Outcome] {
    let deadline = ContinuousClock.now + timeout
    var outcomes: [String: Outcome] = [:]
    while true {
      let open = serials.keys.filter { outcomes[$0] == nil }
      guard !open.isEmpty else { return outcomes }
      let answers = try await ShardRequests().answers(of: open, session)
      for name in open {
        guard let answer = answers[name] else { continue }
        if answer.obeyed >= serials[name]! {
          outcomes[name] = .obeyed
        } else if !answer.hasNode {
          outcomes[name] = .noNode
        }
      }
      guard ContinuousClock.now < deadline else {
        for name in open where outcomes[name] == nil { outcomes[name] = .notYet(answers[name]) }
        return outcomes
      }
      try await Task.sleep(for: Self.cadence)
    }
  }
}
