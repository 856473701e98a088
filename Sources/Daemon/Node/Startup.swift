import Books
import Concurrency
import EventStore
import Glibc
package import Postgres
import Rules
package import Settings
import Telemetry

/// What must hold before shards run: the database answers, the store has a shape that can be followed, our schema is there.
struct Startup: Sendable {
  var settings: Settings
  var options: ConnectionOptions
  var observer: any Observer
  var schema = Schema.current
  /// Called when the database turned out to be away, or a session there to be in the way, each time.
  var onAway: @Sendable () async -> Void

  /// Longest between two attempts to reach a database that is away.
  static let longestWait = Duration.seconds(5)

  /// Waits for the database for as long as it takes.
  ///
  /// - Throws: ``Problem`` where only a person can help; `CancellationError` when the daemon stops first.
  func run() async throws -> StoreShape {
    var delay = Duration.milliseconds(250)
    while true {
      do {
        // Nothing is half made when this is cut short: what it makes is one transaction.
        return try await stoppable { try await attempt() }
      } catch let error as PostgresError where error.isCancelled {
        throw CancellationError()
      } catch let error as PostgresError where error.isConnectionLoss {
        observer.observe(.databaseUnreachable(where: options.redacted, failure: Problem(error), retryIn: delay))
        await onAway()
      }
      let wait = delay
      try await stoppable { try await Task.sleep(for: wait) }
      delay = min(delay * 2, Self.longestWait)
    }
  }

  private func attempt() async throws -> StoreShape {
    let session = try await Session.connect(options, threadName: "startup")
    return try await session.closing { session in
      if try await PoolerCheck(options: options).isShared(session) {
        throw Problem(
          .store(.pooled),
          "database.url goes through a pooler in transaction mode, where no session is the daemon's own and none ends when the server does",
          hint:
            "Give the daemon an entry of its own with pool_mode = session, or a direct connection. Its pool_size bounds what it opens."
        )
      }
      let shape = try await prepare(session)
      observer.observe(.databaseReady(where: options.redacted, serverVersion: session.serverVersion))
      return shape
    }
  }

  private func prepare(_ session: Session) async throws -> StoreShape {
    try await HighWaterReads.refuseStandby(session)
    try await checkPrivileges(session)
    try await preflight(session)
    var shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
    let plan = try await SchemaPlan.forStore(session, shape: shape, schema: schema)
    if let lost = plan.steps.first(where: \.losesRows) {
      throw Problem(
        .store(.schemaBehind), "\(lost.title), with rows that nothing else can tell",
        hint: "Restore it from a backup, or run `tidemark init`, which makes it anew and empty.")
    }
    if !plan.isEmpty {
      do {
        let (read, schema, observer, onAway) = (shape, schema, observer, onAway)
        _ = try await SchemaPlan.apply(session, options, within: nil) { wait in
          observer.observe(.schemaWaits(for: "\(wait)", retryIn: wait.retryIn))
          await onAway()
        } planning: {
          try await SchemaPlan.forStore($0, shape: read, schema: schema)
        }
      } catch let error as PostgresError where error.sqlState == .insufficientPrivilege {
        throw Problem(
          .store(.noPrivilege),
          "the daemon's role may not make \(plan.steps.map(\.title).joined(separator: ", ")): \(error.message)",
          hint: "As the owner of the database run: tidemark init --dry-run | psql")
      }
      observer.observe(.schemaUpdated(steps: plan.steps.map(\.title)))
      shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
    }
    // Once more: another role may own what was made just now.
    try await checkPrivileges(session)
    if !plan.isEmpty { try await preflight(session) }
    return shape
  }

  /// Before anything is made: a store that cannot be followed is left as it is.
  private func preflight(_ session: Session) async throws {
    let store = settings.eventStore
    _ = try await Preflight.pass(session, schema: store.schema, accepted: store.accept)
  }

  private func checkPrivileges(_ session: Session) async throws {
    let missing = try await Privileges.missing(session, schema: settings.eventStore.schema)
    guard missing.isEmpty else {
      throw Problem(
        .store(.noPrivilege), "the daemon's role lacks privileges on the event store",
        hint: "As the owner of the database run: " + missing.map { "\($0);" }.joined(separator: " "))
    }
  }
}

extension ConnectionOptions {
  /// - Parameter url: in place of the settings' own, for a session that must not go through a pooler.
  package init(_ settings: DatabaseSettings, url: String? = nil) {
    self.init(
      conninfo: url ?? settings.url, password: { settings.readPassword() }, applicationName: settings.applicationName,
      connectTimeout: settings.connectTimeout)
  }
}

/// The name by which this node is known: the host's, and the process on it.
package func nodeName() -> String {
  var buffer = [CChar](repeating: 0, count: 256)
  gethostname(&buffer, buffer.count - 1)
  let host = String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  return "\(host)/\(getpid())"
}
