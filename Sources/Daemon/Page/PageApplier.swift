import Books
import Concurrency
import Postgres
import Rules

/// Applies pages of one projection to one target: SQL in one transaction; a plugin gets the events before that transaction.
protocol PageApplier: Sendable {
  /// - Parameter chains: the action chains that have reached their step of skipping events.
  /// - Throws: ``PageFailure``, or `CancellationError`.
  func apply(
    _ page: Page, _ mode: Projector.Mode, policy: FailurePolicy, chains: Set<[FailureAction]>
  ) async throws -> PageOutcome
}

/// The outcome of a page.
enum PageOutcome: Sendable {
  case applied(Projector.Applied)
  /// The page reaches beyond the mark that is proven in this life of the server.
  case beyond(mark: Int64)
  /// The events were read in an earlier life of the server, and must be read again.
  case changed
}

/// Pages of a projection that is SQL.
struct SQLPages: PageApplier {
  /// The source of the session for a page.
  enum Sessions: Sendable {
    /// For a live shard: a page reaches no further than the mark proven on its session.
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
      return try await pool.withPageSession(for: key, unlessStopped: true) { session in
        let mark = try await marks.proven(on: session)
        guard mark.sequence >= page.ceiling else { return .beyond(mark: mark.sequence) }
        return .applied(try await projector.apply(page, mode, on: session))
      }
    case .pool(let pool):
      return .applied(try await pool.withPageSession(for: key) { try await projector.apply(page, mode, on: $0) })
    case .one(let session):
      return .applied(try await projector.apply(page, mode, on: session))
    }
  }
}

extension MarkBoard {
  /// Waits for a mark that holds on a session: its proof began after the session was opened.
  nonisolated func proven(on session: Session) async throws -> Mark {
    try await stoppable { [self] in try await mark { $0.provenAt >= session.openedAt } }
  }
}
