import Postgres

/// The cost of the daemon while no events arrive.
enum Idle {
  /// Projections whose shards have applied all events and wait for more.
  static func projections(_ count: Int) -> String {
    (1...count).map { "[projections.P\($0)]\nevents = [\"travel\"]\nsql = \"SELECT count(*) FROM batch\"" }
      .joined(separator: "\n")
  }

  static func measure(_ bench: Bench) async throws -> [Figure] {
    let database = try await bench.database()
    let projections = projections(20)
    try await database.install(projections)
    try await database.load(events: 100_000)
    let (load, memory) = try await bench.withDaemon(database, projections) { daemon in
      for number in 1...20 { try await database.reached(100_000, "P\(number):All") }
      try await Task.sleep(for: .seconds(bench.isQuick ? 1 : 3))
      return (try await daemon.load(over: .seconds(bench.isQuick ? 4 : 30)), daemon.memory)
    }
    await database.session.close()
    return [
      Figure("idle with 20 shards: processor", "% of core", [load], .lower, target: 1),
      Figure("idle with 20 shards: resident memory", "MiB", [memory], .lower, target: 60),
    ]
  }
}
