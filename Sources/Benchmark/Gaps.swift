import Postgres

/// The time from a writer's rollback until the next event is visible: how long a dead number delays the others.
enum Gaps {
  static func measure(_ bench: Bench) async throws -> [Figure] {
    let database = try await bench.database()
    try await database.install(Latency.projection)
    let writer = try await Session.connect(database.options, threadName: "writer")
    let times = try await bench.withDaemon(database, Latency.projection) { _ in
      var times: [Double] = []
      for _ in 0..<(bench.isQuick ? 20 : 200) {
        _ = try await writer.script("BEGIN")
        _ = try await append(writer)
        let next = try await append(database.session)
        // The event is committed, and waits for the lower number.
        try await Task.sleep(for: .milliseconds(20))
        _ = try await writer.script("ROLLBACK")
        let began = ContinuousClock.now
        while try await database.session.prepared("SELECT FROM seen WHERE last >= \(next)").rows.isEmpty {
          try await Task.sleep(for: .microseconds(300), tolerance: .zero)
        }
        times.append((ContinuousClock.now - began) / .milliseconds(1))
      }
      return times
    }
    await writer.close()
    await database.session.close()
    return [
      Figure("rollback to its gap passed: p50", "ms", [times.percentile(50)], .lower),
      Figure("rollback to its gap passed: p99", "ms", [times.percentile(99)], .lower),
    ]
  }

  private static func append(_ session: Session) async throws -> Int {
    try await session.prepared(
      #"SELECT seq_id FROM tidemark.append(gen_random_uuid(), '[{"type":"travel","data":{"Traveled":1}}]')"#
    ).rows[0].get(0, as: Int.self)
  }
}
