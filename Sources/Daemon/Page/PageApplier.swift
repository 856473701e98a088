import Books
import Concurrency
import Postgres
import Rules

/// Applies pages of one projection to one target: SQL does it in one transaction, a plugin is handed the events in between.
protocol PageApplier: Sendable {
  /// - Parameter chains: those that have come to passing events over.
  /// - Throws: ``PageFailure``, or what ended a wait.
  func apply(
    _ page: Page, _ mode: Projector.Mode, policy: FailurePolicy, chains: Set<[FailureAction]>
  ) async throws -> PageOutcome
}

/// What became of a page that was asked for.
enum PageOutcome: Sendable {
  case applied(Projector.Applied)
  /// The page reaches beyond what is proven in this life of the server.
  case beyond(mark: Int64)
  /// What was read is of an earlier life of the server, and is read again.
  case changed
}

/// Pages of a projection that is SQL.
struct SQLPages: PageApplier {
  /// Where a page finds the session it is applied on.
  enum Sessions: Sendable {
    /// Of a live shard: a page reaches no further than the mark that is proven on its session.
    case proven(SessionPool, MarkBoard)
    case pool(SessionPool)
    case one(Session)
  }

  let context: ShardContext
  let target: PageTarget
  let sessions: Sessions

  func apply(
    _ page: Page, _ mode: Projector.Mode, policy: FailurePolicy, chains: Set<[FailureAction]>
  ) async throws -> PageOutcome {
    let projector = Projector(context, policy: policy, chains: chains, target: target)
    let key = "\(context.name)"
    switch sessions {
    case .proven(let pool, let marks):
      return try await pool.withSession(for: key, unlessStopped: true) { session in
        let mark = try await marks.proven(on: session)
        guard mark.sequence >= page.ceiling else { return .beyond(mark: mark.sequence) }
        return .applied(try await projector.apply(page, mode, on: session))
      }
    case .pool(let pool):
      return .applied(try await pool.withSession(for: key) { try await projector.apply(page, mode, on: $0) })
    case .one(let session):
      return .applied(try await projector.apply(page, mode, on: session))
    }
  }
}

extension MarkBoard {
  /// A mark that is good on a session: its proof began when that was open already.
  nonisolated func proven(on session: Session) async throws -> Mark {
    try await stoppable { [self] in try await mark { $0.provenAt >= session.openedAt } }
  }
}
