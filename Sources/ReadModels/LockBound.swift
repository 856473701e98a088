package import Postgres
import Rules

// Any session that may read the tables of a rebuild may keep them locked, so a rebuild waits for them within a bound, and then says who that
// is. What the server says of its own accord is only that a lock was not to be had.

/// The bound on the waits of a rebuild for locks on whole tables.
enum LockBound {
  static let setting = "lock_timeout = '5s'"

  /// The error of a statement that waited in vain, with the sessions in its way; any other error as it is.
  ///
  /// - Parameters:
  ///   - schema: of the new tables, all locks on which count.
  ///   - tables: on which locks count that keep readers out.
  static func naming(
    _ error: any Error, schema: String, tables: [Int64], _ session: Session
  ) async throws -> any Error {
    guard var failure = error as? PostgresError, failure.sqlState == .lockNotAvailable, session.isOpen,
      case .server(var message) = failure.kind
    else { return error }
    let holders = try await LockHolder.ofTables(in: schema, orAlone: tables, session)
    guard !holders.isEmpty else { return error }
    let who = holders.map(\.description).joined(separator: "; ")
    message.message = "the rebuild's tables were not free within 5 s: \(who)"
    message.hint = "End that session, or its transaction, and try again."
    failure.kind = .server(message)
    return failure
  }
}

extension OriginalTables {
  /// The same as ``read(_:of:_:)`` outside a transaction, within the bound.
  package static func readWithin(
    _ declared: [String], of projection: String, _ session: Session
  ) async throws -> OriginalTables {
    try await session.script("SET \(LockBound.setting)")
    do {
      let originals = try await read(declared, of: projection, session)
      try await session.script("SET lock_timeout TO DEFAULT")
      return originals
    } catch {
      guard session.isOpen else { throw error }
      try await session.script("SET lock_timeout TO DEFAULT")
      var tables: [Int64] = []
      for name in declared {
        if let found = try? await DeclaredTable(name, of: projection).find(session) { tables.append(found.oid) }
      }
      throw try await LockBound.naming(error, schema: "", tables: tables, session)
    }
  }
}
