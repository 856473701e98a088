import Operator
import Daemon
import Foundation
import Glibc
import Postgres
import Processes
import Sandbox
import Settings

/// The setting of a measurement: a private server, databases with events, and the real program as a process.
struct Bench: Sendable {
  let cluster: PrivateCluster
  /// The path of `tidemark`.
  let program: String
  /// Whether to measure less of everything, for a short run.
  let isQuick: Bool
  let runs: Int

  /// The server as Debian installs it, with memory and write-ahead log sized for a dedicated machine; every commit
  /// reaches the disk.
  static let serverSettings = [
    "fsync": "on", "shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min",
  ]

  func database() async throws -> Database {
    let name = try await cluster.createDatabase()
    let options = ConnectionOptions(conninfo: cluster.conninfo(database: name), pins: .never)
    return Database(conninfo: options.conninfo, session: try await Session.connect(options, threadName: "benchmark"))
  }

  /// Runs the daemon during a measurement.
  func withDaemon<T: Sendable>(
    _ database: Database, _ projections: String, _ body: @Sendable (DaemonProcess) async throws -> T
  ) async throws -> T {
    let file = "\(cluster.directory)/\(UUID().uuidString).toml"
    try database.settingsText(projections).write(toFile: file, atomically: true, encoding: .utf8)
    let child = try await Launch(program, ["run", "-c", file], output: .nothing).start()
    async let ended = child.collect(limit: 1 << 20)
    let result: Result<T, any Error>
    do { result = .success(try await body(DaemonProcess(pid: child.pid))) } catch { result = .failure(error) }
    child.send(SIGTERM)
    let outcome = try await ended
    guard outcome.termination.isSuccess else {
      throw Trouble("the daemon \(outcome.termination): \(outcome.error)")
    }
    return try result.get()
  }
}

/// Why a measurement failed.
struct Trouble: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

/// The daemon's resource usage, from the kernel.
struct DaemonProcess: Sendable {
  var pid: pid_t

  /// Processor time since the start, in seconds.
  var processorTime: Double {
    let text = (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)) ?? ""
    let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
    guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return .nan }
    return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  /// Resident memory, in MiB.
  var memory: Double {
    let text = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
    return line.flatMap { Double($0.split(separator: " ")[1]) }.map { $0 / 1024 } ?? .nan
  }

  /// Share of one core over an interval, in percent.
  func load(over interval: Duration) async throws -> Double {
    let (before, began) = (processorTime, ContinuousClock.now)
    try await Task.sleep(for: interval)
    return (processorTime - before) / ((ContinuousClock.now - began) / .seconds(1)) * 100
  }
}

/// One database with an event store.
struct Database: Sendable {
  let conninfo: String
  let session: Session

  /// For sessions that name tables as an application does.
  var options: ConnectionOptions { ConnectionOptions(conninfo: conninfo, pins: .never) }

  func settingsText(_ projections: String) -> String {
    "[database]\nurl = \"\(conninfo)\"\n[event_store]\nappend = \"quick\"\n[log]\nlevel = \"warning\"\n\(projections)\n"
  }

  func install(_ projections: String) async throws {
    let settings = try Settings.parse(
      settingsText(projections), file: "benchmark", files: SettingsFiles(read: { .failure(.init("no file \($0)")) }))
    _ = try await Installer(settings: settings).install(session, streamIDType: "uuid")
  }

  /// How events are spread over streams.
  enum Spread: Sendable {
    /// As in most stores: a stream is active for a while, 1,000 streams at a time, and has 20 events.
    case lifetimes
    /// Any of 50,000 streams at any time: the hardest case for work page by page.
    case random

    var stream: String {
      switch self {
      case .lifetimes: "(i - 1) / 20000 * 1000 + (hashint8(i) & 2147483647) % 1000"
      case .random: "(hashint8(i) & 2147483647) % 50000"
      }
    }

    func streams(events: Int) -> Int { self == .random ? 50_000 : (events + 19_999) / 20_000 * 1000 }
  }

  /// Loads events of about 250 bytes, spread over 30 days.
  func load(events: Int, _ spread: Spread = .lifetimes) async throws {
    _ = try await session.script(
      """
      INSERT INTO mt_streams (id, version) SELECT md5(s::text)::uuid, 0 FROM generate_series(0, \(spread.streams(events: events) - 1)) AS s;
      INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
      SELECT i, gen_random_uuid(), md5((\(spread.stream))::text)::uuid, i,
             jsonb_build_object('Traveled', (i % 997) / 10.0, 'Day', date '2026-03-01' + (i % 30)::int, 'Note', repeat('x', 100)),
             'travel'
        FROM generate_series(1, \(events)) AS i;
      SELECT setval('mt_events_sequence', \(events));
      """, timeout: .seconds(600))
    _ = try await session.script("VACUUM ANALYZE mt_events", timeout: .seconds(600))
    _ = try await session.script("CHECKPOINT", timeout: .seconds(600))
  }

  /// Waits until a shard's position has reached a sequence.
  func reached(_ sequence: Int, _ shard: String, within limit: Duration = .seconds(300)) async throws {
    let deadline = ContinuousClock.now + limit
    while true {
      let rows = try await session.prepared(
        "SELECT last_seq_id FROM mt_event_progression WHERE name = \(shard) AND last_seq_id >= \(sequence)")
      if !rows.rows.isEmpty { return }
      guard ContinuousClock.now < deadline else { throw Trouble("\(shard) did not reach \(sequence) within \(limit)") }
      // Poll rarely: on a machine with two cores the query takes time from the measured work.
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  /// Resets the read model and the position to before the first event.
  func reset(_ table: String, _ shard: String) async throws {
    _ = try await session.script(
      "TRUNCATE \(table); DELETE FROM mt_event_progression WHERE name = '\(shard)'; CHECKPOINT")
  }
}

/// Runs the work, and returns the seconds it took.
func seconds(_ work: () async throws -> Void) async rethrows -> Double {
  let began = ContinuousClock.now
  try await work()
  return (ContinuousClock.now - began) / .seconds(1)
}
