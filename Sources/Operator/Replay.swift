import PluginHost
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

  package init(shape: StoreShape, node: String, observer: any Observer = Unheard()) {
    self.shape = shape
    self.node = node
    self.observer = observer
  }

  /// - Parameter definition: of the letter's shard, as it is declared now.
  package func replay(
    _ sequence: Int64, _ definition: ProjectionDefinition, _ session: Session
  ) async throws -> Outcome {
    guard let declaration = definition.plugin else { return try await replay(sequence, definition, nil, session) }
    let plugin = makePlugin(declaration, for: definition.shard, observer: observer)
    return try await plugin.running { [self] in
      do {
        // Before the transaction, so that it does not wait for a program to start.
        try await plugin.prepare(position: sequence - 1)
      } catch let problem as Problem {
        return .failed(problem.message)
      }
      return try await replay(sequence, definition, plugin, session)
    }
  }

  private func replay(
    _ sequence: Int64, _ definition: ProjectionDefinition, _ plugin: (any Plugin)?, _ session: Session
  ) async throws -> Outcome {
    let letters = DeadLetters(shape)
    let shard = "\(definition.shard)"
    do {
      return try await session.transaction { [self] session in
        let inOrder = definition.onPoison == .parkStream
        if let declaration = definition.plugin {
          try await session.script(SessionBounds.bearing(silenceOf: declaration.timeout))
        }
        guard try await letters.take(sequence, shard: shard, inOrder: inOrder, session) else { return .notTaken }
        try await letters.showOnly(sequence, types: definition.takes, session)
        guard try await apply(sequence, definition, plugin, session) else { throw NothingToApply() }
        return .applied
      }
    } catch is NothingToApply {
      return .nothingToApply
    } catch {
      let failed: PageFailure
      if let error = error as? PostgresError, error.isConnectionLoss || error.isCancelled { throw error }
      failed = try PageFailure(of: error)
      let letter = DeadLetters.Letter(
        sequence: sequence, failureClass: failed.failureClass.rawValue, sqlState: failed.failure.code?.text,
        message: failed.failure.message, detail: failed.detail)
      try await letters.failedAgain(letter, shard: shard, node: node, session)
      return .failed("\(failed.failure)")
    }
  }

  private struct NothingToApply: Error {}

  /// Returns false where the projection does not see the event.
  private func apply(
    _ sequence: Int64, _ definition: ProjectionDefinition, _ plugin: (any Plugin)?, _ session: isolated Session
  ) async throws -> Bool {
    switch definition.effect {
    case .batch(let statements):
      let isThere = try await session.execute("SELECT EXISTS (SELECT FROM tidemark.batch)").rows[0]
      guard try isThere.get(0, as: Bool.self) else { return false }
      for statement in statements { try await session.execute(SQL(text: statement.text)) }
      return true
    case .perEvent(let statements):
      let rows = EventRows(columns: Set(statements.values.flatMap(\.columns)), byteLimit: .max)
      guard let row = try await session.execute(rows.statement).rows.first, let type = row.text(1),
        let statement = statements[type]
      else { return false }
      try await session.execute(rows.bound(statement, to: row, streamIDType: shape.streamIDType))
      return true
    case .plugin(let declaration):
      let page = Page(floor: sequence - 1, ceiling: sequence)
      let block = try await EventBlocks(shape).shown(page, on: session)
      let slice = EventSlice(block, types: definition.takes)
      guard let plugin, slice.count == 1 else { return false }
      if let tooLarge = declaration.tooLarge(slice) { throw tooLarge }
      switch try await plugin.apply(slice) {
      case .applied(_, let statements):
        for sql in try PluginEffects.sql(declaration.applicable(statements)) { try await session.execute(sql) }
        return true
      case .failed(let failure): throw PageFailure(failure)
      }
    }
  }
}

/// For who replays a letter and does not want to hear what the plugin has to say besides its answer.
package struct Unheard: Observer {
  package init() {}

  package func observe(_ observation: Observation, in database: String?) {}
}
