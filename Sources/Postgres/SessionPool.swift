import Concurrency

/// A bounded number of sessions, each lent to one user at a time, so that many shards share a few connections.
///
/// Sessions are opened on demand. A session that broke, or that comes back inside a transaction that cannot be rolled
/// back, is discarded.
package actor SessionPool {
  private let options: ConnectionOptions
  private let limit: Int
  private let name: String
  private let prepare: (@Sendable (Session) async throws -> Void)?
  private let clean: (@Sendable (Session) async throws -> Void)?
  private let onNotice: (@Sendable (ServerMessage) -> Void)?

  /// Idle sessions, each with the key of its last user; nil if the session must be cleaned for any next user.
  private var idle: [(key: String?, session: Session)] = []
  private var lent = 0
  /// The server's processes behind lent sessions, by the key of their users.
  private var serving: [String: [Int32]] = [:]
  private let waiters = Waiters<Void, Void>()
  private var isClosed = false

  /// - Parameters:
  ///   - limit: the most sessions open at once, at least 1.
  ///   - prepare: runs once on each new session.
  ///   - clean: runs on a session last used by another key, and removes the state it may have left behind.
  package init(
    _ options: ConnectionOptions, limit: Int, name: String, prepare: (@Sendable (Session) async throws -> Void)? = nil,
    clean: (@Sendable (Session) async throws -> Void)? = nil,
    onNotice: (@Sendable (ServerMessage) -> Void)? = nil
  ) {
    precondition(limit > 0, "a pool lends at least one session")
    self.options = options
    self.limit = limit
    self.name = name
    self.prepare = prepare
    self.clean = clean
    self.onNotice = onNotice
  }

  /// The number of sessions that are open or being opened.
  package var openCount: Int { idle.count + lent }

  /// Lends a session to the body, in the order of asking.
  ///
  /// - Parameters:
  ///   - key: identifies the user; an idle session that last served the same key is preferred, as its prepared
  ///     statements are warm.
  ///   - unlessStopped: whether a stop ends the wait for a session. Pass true to begin new work, and false to finish
  ///     work already begun.
  ///   - isNew: whether to open a session for this user, and close an idle one in exchange.
  /// - Throws: `PostgresError` when none can be opened, `CancellationError` when the task is cancelled while it waits,
  ///   or the body's error.
  package func withSession<T: Sendable>(
    for key: String = "", unlessStopped: Bool = false, isNew: Bool = false,
    _ body: @Sendable (Session) async throws -> T
  ) async throws -> T {
    let session =
      unlessStopped ? try await stoppable { try await self.take(key, isNew) } : try await take(key, isNew)
    serving[key, default: []].append(session.processID)
    do {
      let value = try await body(session)
      await giveBack(session, key)
      return value
    } catch {
      await giveBack(session, key)
      throw error
    }
  }

  /// For what a user waits: the sessions that block those lent to it, or, in words, that none is free.
  ///
  /// Looks on a session of its own, beyond the limit, since each one of the pool may be waiting. Nil if it waits for neither.
  package func hindrance(of key: String) async throws -> String? {
    guard let processIDs = serving[key] else {
      return lent >= limit ? "waits for a free session: all \(limit) are in use (database.pool_size)" : nil
    }
    let holders = try await Session.connect(options, threadName: "watch").closing {
      try await LockHolder.blocking(processIDs, $0)
    }
    return holders.isEmpty ? nil : "waits for " + holders.map(\.description).joined(separator: "; ")
  }

  /// Runs the body and closes the pool, however the body ends.
  package nonisolated func closing<T>(_ body: (SessionPool) async throws -> T) async throws -> T {
    do {
      let value = try await body(self)
      await close()
      return value
    } catch {
      await close()
      throw error
    }
  }

  /// Closes idle sessions now, and lent ones when they come back; no session is lent any more.
  package func close() async {
    isClosed = true
    waiters.fail(PostgresError(.connection("the pool is closed")))
    await closeIdle()
  }

  /// A server that ended one session has often ended all: each user of a dead one would fail once more, and wait longer each time.
  private func closeIdle() async {
    let sessions = idle
    idle = []
    for (_, session) in sessions { await session.close() }
  }

  /// Why no session can be opened now; nil if one can.
  package nonisolated func refusal() async -> PostgresError? {
    do {
      try await Session.connect(options, threadName: "probe").close()
      return nil
    } catch { return error }
  }

  private func take(_ key: String, _ isNew: Bool) async throws -> Session {
    guard !isClosed else { throw PostgresError(.connection("the pool is closed")) }
    // Take one of the `limit` slots if it is free, or wait until another user passes one on.
    if lent >= limit { try await waiters.wait() } else { lent += 1 }
    while let index = idle.lastIndex(where: { $0.key == key }) ?? idle.indices.last {
      let (last, session) = idle.remove(at: index)
      guard session.isOpen else { continue }
      guard !isNew else {
        await session.close()
        break
      }
      if last == key { return session }
      do {
        try await clean?(session)
        return session
      } catch let error as PostgresError where error.isCancelled && session.isOpen {
        // The user gave up while the session was being cleaned. Keep it for the others, marked as still to be cleaned.
        idle.append((nil, session))
        passOnPlace()
        throw error
      } catch {
        await session.close()
      }
    }
    do {
      let session = try await Session.connect(options, threadName: name, onNotice: onNotice)
      do {
        try await prepare?(session)
      } catch {
        await session.close()
        throw error
      }
      return session
    } catch {
      passOnPlace()
      throw error
    }
  }

  private func giveBack(_ session: Session, _ key: String) async {
    if let index = serving[key]?.firstIndex(of: session.processID) { serving[key]?.remove(at: index) }
    if serving[key]?.isEmpty ?? false { serving[key] = nil }
    await session.rollBack()
    if isClosed { await session.close() }
    if session.isOpen {
      idle.append((key, session))
    } else {
      await closeIdle()
    }
    passOnPlace()
  }

  /// Passes the slot to the user that has waited longest, or frees it.
  private func passOnPlace() {
    if !waiters.tellFirst(()) { lent -= 1 }
  }
}
