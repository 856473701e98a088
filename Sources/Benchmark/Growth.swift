import Postgres

/// How the cost of new events grows with the size of the store, which it must not, and with the number of shards.
enum Growth {
  static func measure(_ bench: Bench) async throws -> [Figure] {
    var figures: [Figure] = []
    for count in bench.isQuick ? [20_000, 100_000] : [100_000, 1_000_000, 5_000_000] {
      let database = try await bench.database()
      try await database.install(Latency.projection)
      try await database.load(events: count)
      let (latencies, load) = try await bench.withDaemon(database, Latency.projection) { daemon in
        try await database.reached(count, "Seen:All")
        try await Task.sleep(for: .seconds(1))
        let load = try await daemon.load(over: .seconds(bench.isQuick ? 3 : 15))
        return (try await Latency.latencies(database, rate: 200, for: bench.isQuick ? .seconds(2) : .seconds(10)), load)
      }
      await database.session.close()
      figures += [
        Figure("\(count) events in the store: commit to visible p50", "ms", [latencies.percentile(50)], .lower),
        Figure("\(count) events in the store: commit to visible p99", "ms", [latencies.percentile(99)], .lower),
        Figure("\(count) events in the store: idle", "% of core", [load], .lower),
      ]
    }
    for shards in bench.isQuick ? [1, 40] : [1, 10, 40] {
      let database = try await bench.database()
      let projections = Idle.projections(shards)
      try await database.install(projections)
      try await database.load(events: 10_000)
      let (load, transactions) = try await bench.withDaemon(database, projections) { daemon in
        for number in 1...shards { try await database.reached(10_000, "P\(number):All") }
        // Sessions report their statistics after ten idle seconds.
        try await Task.sleep(for: .seconds(bench.isQuick ? 2 : 12))
        let before = try await database.transactions()
        let interval = Duration.seconds(bench.isQuick ? 3 : 15)
        let load = try await daemon.load(over: interval)
        // Subtract the one transaction of this session.
        return (load, (try await database.transactions() - before - 1) / (interval / .seconds(1)))
      }
      await database.session.close()
      figures += [
        Figure("\(shards) shards, idle: processor", "% of core", [load], .lower),
        Figure("\(shards) shards, idle: transactions on the server", "1/s", [transactions], .lower),
      ]
    }
    return figures
  }
}

extension Database {
  /// The transactions committed so far. Sessions report at most once a second, so the number lags a little.
  fileprivate func transactions() async throws -> Double {
    try await session.execute(
      "SELECT xact_commit::float8 FROM pg_stat_database WHERE datname = current_database()"
    ).rows[0].get(0, as: Double.self)
  }
}
