import Foundation
import Postgres
import Processes
import Sandbox

/// The cost of handing events to a plugin: plugins that only acknowledge, compared with psql copying the same events to
/// /dev/null.
enum PluginSpeed {
  static func measure(_ bench: Bench) async throws -> [Figure] {
    let count = bench.isQuick ? 200_000 : 1_000_000
    let database = try await bench.database()
    let programs = try await build(in: bench.cluster.directory)
    let exec = "[projections.Exec]\nexec = [\"\(programs.exec)\"]\n"
    let library = "[projections.Library]\nlibrary = \"\(programs.library)\"\n"
    try await database.install(exec + library)
    try await database.load(events: count)
    var (copy, child, inside): ([Double], [Double], [Double]) = ([], [], [])
    for _ in 0..<bench.runs {
      copy.append(try await seconds { try await self.copy(database) })
      child.append(try await follow(bench, database, exec, "Exec:All", count))
      inside.append(try await follow(bench, database, library, "Library:All", count))
    }
    await database.session.close()
    let rate = { (times: [Double]) in times.map { Double(count) / $0 } }
    let ratio = { (times: [Double]) in zip(copy, times).map { $0 / $1 } }
    return [
      Figure("plugins: COPY of the same events through psql", "events/s", rate(copy), .higher),
      Figure("plugins: exec, which acknowledges", "events/s", rate(child), .higher, target: 150_000),
      Figure("plugins: exec to COPY", "ratio", ratio(child), .higher),
      Figure("plugins: library, which acknowledges", "events/s", rate(inside), .higher, target: 300_000),
      Figure("plugins: library to COPY", "ratio", ratio(inside), .higher),
    ]
  }

  /// The time from the shard's first read to its last event.
  private static func follow(
    _ bench: Bench, _ database: Database, _ projection: String, _ shard: String, _ count: Int
  ) async throws -> Double {
    _ = try await database.session.script("DELETE FROM mt_event_progression WHERE name = '\(shard)'; CHECKPOINT")
    return try await bench.withDaemon(database, projection) { _ in
      try await database.reached(0, shard)
      return try await seconds { try await database.reached(count, shard) }
    }
  }

  private static func copy(_ database: Database) async throws {
    let query = """
      COPY (SELECT seq_id, id, stream_id, version, type, "timestamp", tenant_id, headers, data FROM mt_events ORDER BY seq_id) TO STDOUT
      """
    let result = try await Launch("psql", ["-qX", "-d", database.conninfo, "-c", query], output: .nothing)
      .run(limit: 1 << 16)
    guard result.termination.isSuccess else { throw Trouble("psql failed: \(result.error)") }
  }

  private static func build(in directory: String) async throws -> (exec: String, library: String) {
    let sources = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Plugins")
    let header = sources.deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "CTidemarkPlugin/include").path
    let programs = (exec: "\(directory)/acknowledge", library: "\(directory)/libacknowledge.so")
    for arguments in [
      ["-o", programs.exec, sources.appending(path: "acknowledge.c").path],
      [
        "-shared", "-fPIC", "-I", header, "-o", programs.library, sources.appending(path: "acknowledge_library.c").path,
      ],
    ] {
      let result = try await Launch("cc", ["-O2"] + arguments, output: .nothing).run(limit: 1 << 16)
      guard result.termination.isSuccess else { throw Trouble("cc failed: \(result.error)") }
    }
    return programs
  }
}
