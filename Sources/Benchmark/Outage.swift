import Foundation
import Glibc
import Postgres
import Processes
import Sandbox

/// What an outage of the server costs beyond its own length: the time from the moment at which it takes connections and writes again until a
/// new event is visible in a read model. Both modes are measured at once, since each has agents of its own that wait.
enum Outage {
  private enum Kind: String, CaseIterable {
    case stopped = "a stopped server"
    case killed = "a server that crashed"
    case standby = "a standby that is promoted"
  }

  private static let projections = """
    [projections.Seen]
    tables = ["seen"]
    setup = "CREATE TABLE seen (id int PRIMARY KEY, last bigint NOT NULL)"
    sql = '''
    INSERT INTO seen SELECT 1, max(seq_id) FROM batch HAVING count(*) > 0
    ON CONFLICT (id) DO UPDATE SET last = excluded.last
    '''
    """

  static func measure(_ bench: Bench) async throws -> [Figure] {
    // A server of its own: other measurements use theirs without interruption.
    let cluster = try await PrivateCluster.start()
    let bench = Bench(cluster: cluster, program: bench.program, isQuick: bench.isQuick, runs: bench.runs)
    var living: [Child] = []
    defer { for child in living { child.send(SIGKILL) } }
    var times: [String: [Double]] = [:]
    var databases: [(mode: String, options: ConnectionOptions)] = []
    for mode in ["solo", "hotcold"] {
      let database = try await bench.database()
      try await database.install(projections)
      await database.session.close()
      databases.append((mode, database.options))
      let file = "\(cluster.directory)/\(mode).toml"
      try "mode = \"\(mode)\"\n\(database.settingsText(projections))".write(
        toFile: file, atomically: true, encoding: .utf8)
      living.append(
        try await Launch(bench.program, ["run", "-c", file], output: .nothing, error: .nothing).start())
      _ = try await visible(database.options)
    }
    let lengths: [Double] = bench.isQuick ? [1, 2, 5] : [1, 2, 5, 10, 20, 60]
    for _ in 0..<bench.runs {
      for kind in Kind.allCases {
        for length in lengths {
          // The last attempt comes at any moment of its cadence.
          try await suffer(kind, for: .seconds(length + Double.random(in: 0..<1)), cluster)
          try await withThrowingTaskGroup(of: (String, Double).self) { group in
            for (mode, options) in databases {
              group.addTask { (mode, try await visible(options) / .milliseconds(1)) }
            }
            for try await (mode, time) in group { times[mode, default: []].append(time) }
          }
        }
      }
    }
    for child in living {
      child.send(SIGTERM)
      await child.waitForEnd()
    }
    living = []
    await cluster.remove()
    return databases.flatMap { mode, _ in
      let times = times[mode]!
      let title =
        "outage of \(Int(lengths.min()!)) to \(Int(lengths.max()!)) s, from its end to an event visible, \(mode)"
      return [
        Figure("\(title): p50 of \(times.count)", "ms", times, .lower),
        Figure("\(title): p99", "ms", [times.percentile(99)], .lower, target: 1000),
      ]
    }
  }

  private static func suffer(_ kind: Kind, for length: Duration, _ cluster: PrivateCluster) async throws {
    let mark = URL(filePath: "\(cluster.directory)/data/standby.signal")
    await cluster.stop(kind == .killed ? .immediate : .fast)
    guard kind == .standby else {
      try await Task.sleep(for: length)
      return try await cluster.startServer()
    }
    try Data().write(to: mark)
    try await cluster.startServer()
    try await Task.sleep(for: length)
    let options = ConnectionOptions(conninfo: cluster.conninfo(database: "postgres"))
    try await Session.connect(options, threadName: "benchmark").closing { session in
      _ = try await session.execute("SELECT pg_promote()", timeout: .seconds(60))
    }
  }

  /// How long it takes from now until an event that is appended now is visible.
  private static func visible(_ options: ConnectionOptions) async throws -> Duration {
    let began = ContinuousClock.now
    return try await Session.connect(options, threadName: "benchmark").closing { session in
      let sequence = try await session.execute(
        #"SELECT seq_id FROM tidemark.append(gen_random_uuid(), '[{"type":"travel","data":{}}]')"#
      ).rows[0].get(0, as: Int.self)
      while try await session.prepared("SELECT FROM seen WHERE last >= \(sequence)").rows.isEmpty {
        guard ContinuousClock.now - began < .seconds(60) else { throw Trouble("nothing was applied within a minute") }
        try await Task.sleep(for: .milliseconds(2))
      }
      return ContinuousClock.now - began
    }
  }
}
