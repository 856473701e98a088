import Books
import Concurrency
import EventStore
import Glibc
package import Postgres
import Rules
package import Settings
import Telemetry

/// The conditions for running shards: the database answers, the store has a shape that can be followed, and Tidemark's schema exists.
struct Startup: Sendable {
  var settings: Settings
  var options: ConnectionOptions
  var observer: any Observer
  var schema = Schema.current
  /// Shards of this process have run on the schema, so it cannot be missing for a reason that is known.
  var hasRun = false
  /// Called each time the database is unreachable, or another session blocks the schema change; with the reason.
  var onAway: @Sendable (Problem) async -> Void

  /// How long to wait for a lock on what the start looks at.
  static let lockPatience = Duration.seconds(5)

  /// Waits for the database for as long as it takes.
  ///
  /// - Throws: ``Problem`` if an operator must act; `CancellationError` when the daemon stops first.
  func run() async throws -> StoreShape {
    var reattempt = Reattempt()
    while true {
      let delay: Duration
      do {
        // Cancelling leaves nothing unfinished: all changes are in one transaction.
        return try await stoppable { try await attempt() }
      } catch let error as PostgresError where error.isCancelled {
        throw CancellationError()
      } catch let error as PostgresError where error.sqlState == .lockNotAvailable {
        delay = reattempt.next(after: Problem(error))
        observer.observe(.startWaits(failure: Problem(error), retryIn: delay))
        await onAway(Problem(error))
      } catch let error as PostgresError where error.mayPass {
        delay = reattempt.next(after: Problem(error))
        observer.observe(.databaseUnreachable(where: options.redacted, failure: Problem(error), retryIn: delay))
        await onAway(Problem(error))
      }
      try await stoppable { try await Task.sleep(for: delay) }
    }
  }

  private func attempt() async throws -> StoreShape {
    let session = try await PoolerCheck(options: options).connect(threadName: "startup", orThrow: PoolerCheck.refusal)
    return try await session.closing { session in
      try await SessionBounds.applyForOperator(to: session, patience: Self.lockPatience)
      let shape = try await prepare(session)
      observer.observe(.databaseReady(where: options.redacted, serverVersion: session.serverVersion))
      for warning in try await NameWarnings(schema: settings.eventStore.schema).all(settings.projections, session) {
        observer.observe(.pathOpen(failure: warning))
      }
      return shape
    }
  }

  private func prepare(_ session: Session) async throws -> StoreShape {
    let schema = settings.eventStore.schema
    await session.ask(
      ahead: [HighWaterReads.standby] + Privileges.questions(schema: schema)
        + StoreFactsLookUp.questions(schema: schema) + StoreShape.questions(schema: schema))
    try await HighWaterReads.refuseStandby(session)
    try await Privileges.refuseMissing(session, schema: settings.eventStore.schema)
    try await preflight(session)
    var shape = try await StoreShape.read(session, schema: schema)
    await session.forgetAnswers()
    let plan = try await SchemaPlan.forStore(session, shape: shape, schema: self.schema)
    if let lost = plan.steps.first(where: \.losesRows) {
      throw Problem(
        .store(.schemaBehind), "\(lost.title) is missing, with rows that cannot be derived from anything else",
        hint: "Restore it from a backup, or run `tidemark init`, which creates it again, empty.")
    }
    // With the positions gone too, it is another database, or one made anew.
    if plan.isFirst, hasRun, shape.hasProgression, try await !Positions(shape).all(session).isEmpty {
      throw Problem(
        .store(.schemaBehind),
        "Tidemark's own tables are gone, and with them dead letters, gaps, and which shards an operator has stopped",
        hint: "Restore the schema tidemark from a backup, or run `tidemark init`, which makes it anew, empty.")
    }
    if !plan.isEmpty {
      do {
        let (read, schema, observer, onAway) = (shape, self.schema, observer, onAway)
        let ran = try await SchemaPlan.apply(session, options, within: nil) { wait in
          observer.observe(.schemaWaits(for: "\(wait)", retryIn: wait.retryIn))
          await onAway(Problem("the schema tidemark must be updated, and waits for \(wait)"))
        } planning: {
          try await SchemaPlan.forStore($0, shape: read, schema: schema)
        }
        // Of several nodes that start at once, one changes the schema.
        if !ran.isEmpty { observer.observe(.schemaUpdated(steps: ran.steps.map(\.title))) }
      } catch let error as PostgresError where error.sqlState == .insufficientPrivilege {
        throw Problem(
          .store(.noPrivilege),
          "the daemon's role may not create \(plan.steps.map(\.title).joined(separator: ", ")): \(error.message)",
          hint: "As the owner of the database run: tidemark init --dry-run | psql")
      }
      shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
      // Again: the objects just created may belong to another role.
      try await Privileges.refuseMissing(session, schema: settings.eventStore.schema)
      try await preflight(session)
    }
    return shape
  }

  /// Runs before the daemon creates anything, so that a store that cannot be followed stays unchanged.
  private func preflight(_ session: Session) async throws {
    let store = settings.eventStore
    _ = try await Preflight.pass(session, schema: store.schema, accepted: store.accept)
  }
}

extension ConnectionOptions {
  /// - Parameter url: replaces the settings' own, for a session that must not go through a pooler.
  package init(_ settings: DatabaseSettings, url: String? = nil) {
    self.init(
      conninfo: url ?? settings.url, password: { settings.readPassword() }, applicationName: settings.applicationName,
      connectTimeout: settings.connectTimeout)
    let concealment = settings.concealment
    conceal = { concealment.concealing($0) }
  }
}

/// The name of this node: its host and its process.
package func nodeName() -> String {
  var buffer = [CChar](repeating: 0, count: 256)
  gethostname(&buffer, buffer.count - 1)
  let host = String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  return "\(host)/\(getpid())"
}
