import Postgres

extension Session {
  /// Runs work that other sessions or a plugin do, while a transaction of this session waits for it.
  ///
  /// A transaction that holds a position must never be silent for longer than ``SessionBounds/silence``: otherwise a process that is frozen
  /// would keep its shard from every other node for as long as the work may take. So the session gives a sign of life every second, and the
  /// server ends it soon after the process stops to.
  ///
  /// - Throws: the error of the work; or that of the session, once the server has ended it.
  func bearing<T: Sendable>(_ work: @escaping @Sendable () async throws -> T) async throws -> T {
    try await withThrowingTaskGroup(of: T?.self) { group in
      group.addTask { try await work() }
      group.addTask { [self] in
        while true {
          do { try await Task.sleep(for: Self.sign) } catch { return nil }
          // In a task of its own: a sign that is cancelled on its way would fail the transaction.
          let said = await Task { try await script("SELECT") }.result
          // In a transaction that has failed, the work knows why.
          if !isOpen { _ = try said.get() }
        }
      }
      while let value = try await group.next() {
        guard let value else { continue }
        group.cancelAll()
        return value
      }
      throw CancellationError()
    }
  }

  /// Far shorter than the bound, as both machines may be busy.
  private static var sign: Duration { .seconds(1) }
}
