import Books
import Daemon
package import EventStore
import Plugins
package import Postgres
package import Rules
package import Telemetry

/// Applies the events of dead letters again, each in one transaction with the removal of its letter, so never twice.
package struct Replay: Sendable {
  package enum Outcome: Sendable, Hashable {
    case applied
    /// Another replay took the letter, or an earlier one of its stream must be replayed first.
    case notTaken
    /// The event is archived, or the projection takes no events of its type. The letter stays.
    case nothingToApply
    case failed(String)
  }

  package let shape: StoreShape
  package let node: String
  /// Gets the log entries of plugins.
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
      // The connection is lost; the letter is unchanged.
      if let lost = failed.lost { throw lost }
      let letter = DeadLetters.Letter(
        sequence: sequence, failureClass: failed.failureClass.rawValue, sqlState: failed.failure.code?.text,
        message: failed.failure.message, detail: failed.detail)
      try await DeadLetters(shape).failedAgain(letter, shard: "\(definition.shard)", node: node, session)
      return .failed("\(failed.failure)")
    }
  }
}

/// Ignores all observations, for callers that only want the outcome.
package struct SilentObserver: Observer {
  package init() {}

  package func observe(_ observation: Observation, in database: String?) {}
}
