import Books
import EventStore
import Postgres
import ReadModels
import Rules

// A rebuild waits for other things that the server lacks, but not for room on its disk: what it made takes the room of the live shards.

extension RebuildRunner {
  /// Removes the new tables where the disk is full: what they take is what the live shards lack. That needs a little room itself, which may
  /// come a moment later.
  ///
  /// - Returns: whether they are removed.
  func makeRoom(_ row: RebuildTable.Row, because problem: Problem, _ session: Session) async -> Bool {
    for _ in 1...Self.attemptsForRoom {
      if (try? await ShadowTables.remove(row, as: .failed, because: problem, session)) != nil { return true }
      if !session.isOpen || Task.isCancelled { return false }
      try? await Task.sleep(for: .seconds(1))
    }
    return false
  }

  private static let attemptsForRoom = 30

  /// Runs what makes new tables or fills them.
  ///
  /// - Throws: ``Problem`` of its own where the disk is full: a rebuild waits for other things that the server lacks, but not while it holds
  ///   what the live shards lack.
  func unlessFull(_ body: () async throws -> Void) async throws {
    do {
      try await body()
    } catch {
      guard let error = error as? PostgresError, error.sqlState == .diskFull else { throw error }
      throw Problem(noSpace: Problem(error))
    }
  }
}
