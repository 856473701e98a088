import Books
import Operator
import Commands
import Concurrency
import Daemon
import EventStore
import FoundationEssentials
import Glibc
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry

struct Demo {
  static let verb = Verb(
    "demo", about: "Run Tidemark on a private PostgreSQL with sample events, then check the result.",
    discussion: """
      Starts a private cluster in a temporary directory from the installed server programs, creates an event store, appends trips and
      accounts from several writers (with rollbacks, savepoints and slow commits), and follows them with three projections. At the end
      it compares the read models with a recount of the events. Ctrl-C ends it early; it leaves nothing behind.
      """,
    options: [seconds, writers, verbose],
    examples: [Example("tidemark demo --seconds 5 --writers 8", "Watch eight writers for five seconds.")]
  ) { try await Demo(line: $0).run() }

  static let seconds: Option<Int> = .value(
    "seconds", .integer("NUMBER", 1...86_400), default: 20, "How long the writers run.")
  static let writers: Option<Int> = .value("writers", .integer("NUMBER", 1...64), default: 4, "The number of writers.")
  static let verbose: Option<Bool> = .flag("verbose", short: "v", "Print the daemon's log too.")

  let line: ParsedLine

  func run() async throws {
    do {
      try await serve(
        DemoShow(
          writers: line[Self.writers], duration: .seconds(line[Self.seconds]),
          level: line[Self.verbose] ? .info : .warning))
    } catch is CancellationError {
      throw CommandFailure(.failed, "interrupted before there was anything to show")
    } catch let problem as PrivateCluster.Problem {
      throw CommandFailure(.failed, "\(problem)")
    } catch {
      throw commandFailure(error)
    }
  }
}

/// The demo: a server, a store, a daemon and writers, the status every two seconds, and the recount.
private struct DemoShow: Service {
  let writers: Int
  let duration: Duration
  let level: LogLevel

  func run() async throws {
    printResult("Starting a private PostgreSQL …")
    let cluster = try await stoppable { try await PrivateCluster.start() }
    do {
      try await show(cluster)
      await cluster.remove()
    } catch {
      await cluster.remove()
      throw error
    }
  }

  private func show(_ cluster: PrivateCluster) async throws {
    let conninfo = cluster.conninfo(database: "postgres")
    let file = "\(cluster.directory)/tidemark.toml"
    let text = """
      [database]
      url = "\(conninfo)"

      # Every writer takes its numbers in the transaction that inserts the events, so no gap has to wait for gap_grace.
      [event_store]
      append = "quick"

      \(SampleProjections.toml)
      """
    try Data(text.utf8).write(to: URL(filePath: file))
    let settings = try Settings.load(path: file, environment: [:])
    var options = ConnectionOptions(settings.database)
    // For the recount, which names tables as an application does.
    options.pins = .never
    let session = try await Session.connect(options, threadName: "demo")
    let installer = Installer(settings: settings)
    let plan = try await installer.install(session, streamIDType: "uuid")
    for step in plan.steps { printResult("made \(step.title)") }
    let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
    printResult("\nLook at it while it runs:\n  psql '\(conninfo)'\n  tidemark status --config \(file)\n")

    let log = QueuedLog(TerminalLog())
    defer { log.drain() }
    let daemon = Daemon(
      settings: settings, version: tidemarkVersion, observer: LogObserver(log, level: level))
    // The daemon keeps running while the demo counts, regardless of signals from the terminal.
    let running = ServiceRun(daemon)
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await running.run() }
      let committed = try await write(options, showing: session, shape, settings)
      let isEqual = try await recount(committed: committed, session, shape, settings)
      running.end()
      try await tasks.waitForAll()
      await session.close()
      guard isEqual else { throw CommandFailure(.failed, "a read model differs from the recount of its events") }
    }
  }

  /// Runs the writers for the demo's time, or until Ctrl-C, and prints the status every two seconds. Returns the number
  /// of events committed.
  private func write(
    _ options: ConnectionOptions, showing session: Session, _ shape: StoreShape, _ settings: Settings
  ) async throws -> Int {
    try await withThrowingTaskGroup(of: Int.self) { tasks in
      for number in 1...writers {
        tasks.addTask { try await SampleWriter(seed: UInt64(number)).run(options) }
      }
      let deadline = ContinuousClock.now + duration
      while ContinuousClock.now < deadline && !Stop.current.isRequested {
        await rest(for: min(deadline - .now, .seconds(2)))
        let report = try await StatusReport.read(session, shape: shape, declared: settings.projections.map(\.shard))
        printResult(report.text + "\n")
      }
      tasks.cancelAll()
      return try await tasks.reduce(0, +)
    }
  }

  /// Waits for the shards, then compares every read model with its events.
  private func recount(committed: Int, _ session: Session, _ shape: StoreShape, _ settings: Settings) async throws
    -> Bool
  {
    let shards = settings.projections.map { "\($0.shard)" }
    let late = try await CatchUp(shards: shards, timeout: .seconds(30)).run(session, shape: shape)
    guard late.isEmpty else {
      throw CommandFailure(.timedOut, "not caught up after 30 s: \(late.map(\.shard).joined(separator: ", "))")
    }
    let statistics = try await Statistics.read(session, shape: shape)
    printResult("The writers stopped. Recount of \(counted(statistics.events, "event")):")
    // A writer that was cancelled during its commit did not count it, so there may be more events, but never fewer.
    var isEqual = statistics.eventsAreEstimated || statistics.events >= committed
    if !isEqual { printResult("  events: of \(grouped(Int64(committed))) committed some ARE MISSING") }
    for recount in SampleProjections.recounts {
      let row = try await session.execute(SQL(text: recount.query)).rows[0]
      let wrong = try row.get("wrong", as: Int.self)
      isEqual = isEqual && wrong == 0
      let rows = grouped(try row.get("rows", as: Int64.self))
      printResult("  \(recount.readModel): \(rows) rows, \(wrong == 0 ? "equal" : "\(wrong) DIFFER")")
    }
    printResult(
      isEqual
        ? "Equal: every event was applied once, in order, across \(grouped(statistics.missingNumbers)) rolled-back numbers."
        : "NOT EQUAL")
    return isEqual
  }
}
