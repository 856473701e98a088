import Books
import Daemon
package import EventStore
import Plugins
package import Postgres
package import Rules
package import Telemetry

/// Runs dead letters through their projections again: each in one transaction with the removal of the letter, so never twice.
package struct Replay: Sendable {
  package enum Outcome: Sendable, Hashable {
    case applied
    /// Somebody else took the letter, or an earlier one of its stream has to go first.
    case notTaken
    /// The event is archived, or the projection takes no event of its type: there is nothing to apply. The letter stays.
    case nothingToApply
    case failed(String)
  }

  package let shape: StoreShape
  package let node: String
  /// Is told what plugins say.
  package let observer: any Observer

  package init(shape: StoreShape, node: String, observer: any Observer = SilentObserver()) {
    self.shape = shape
    self.node = node
    self.observer = observer
  }

  /// - Parameter definition: of the letter's shard, as it is declared now.
  package func replay(
    _ sequence: Int64, _ definition: ProjectionDefinition, _ session: Session
  ) async throws -> Outcome {
    let context = ShardContext(
      definition, shape: shape, policy: { FailurePolicy() }, node: node, observer: observer)
    do {
      try await LetterPage(sequence, context).apply(on: session)
      return .applied
    } catch PageTarget.Refusal.notTaken {
      return .notTaken
    } catch PageTarget.Refusal.nothingToApply {
      return .nothingToApply
    } catch let problem as Problem {
      return .failed(problem.message)
    } catch let failed as PageFailure {
      // The server is gone, and the letter is as it was.
      if let lost = failed.lost { throw lost }
      let letter = DeadLetters.Letter(
        sequence: sequence, failureClass: failed.failureClass.rawValue, sqlState: failed.failure.code?.text,
        message: failed.failure.message, detail: failed.detail)
      try await DeadLetters(shape).failedAgain(letter, shard: "\(definition.shard)", node: node, session)
      return .failed("\(failed.failure)")
    }
  }
}

/// For who replays a letter and does not want to hear what the plugin has to say besides its answer.
package struct SilentObserver: Observer {
  package init() {}

  package func observe(_ observation: Observation, in database: String?) {}
}
