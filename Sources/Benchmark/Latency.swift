import Postgres

/// The time from a writer's commit until a reader sees the row, at a steady rate of events.
enum Latency {
  static let projection = """
    [projections.Seen]
    tables = ["seen"]
    setup = "CREATE TABLE seen (id int PRIMARY KEY, last bigint NOT NULL)"
    sql = '''
    INSERT INTO seen SELECT 1, max(seq_id) FROM batch HAVING count(*) > 0
    ON CONFLICT (id) DO UPDATE SET last = excluded.last
    '''
    """

  private struct Moment: Sendable {
    var sequence: Int
    var at: ContinuousClock.Instant
  }

  static func measure(_ bench: Bench) async throws -> [Figure] {
    let database = try await bench.database()
    try await database.install(projection)
    var figures: [[Double]] = [[], [], []]
    for _ in 0..<(bench.isQuick ? 1 : bench.runs) {
      let latencies = try await bench.withDaemon(database, projection) { _ in
        try await Self.latencies(database, rate: 1000, for: bench.isQuick ? .seconds(2) : .seconds(10))
      }
      for (index, percent) in [50.0, 99.0, 100.0].enumerated() { figures[index].append(latencies.percentile(percent)) }
    }
    await database.session.close()
    return [
      Figure("commit to visible at 1,000 events/s: p50", "ms", figures[0], .lower, target: 10),
      Figure("commit to visible at 1,000 events/s: p99", "ms", figures[1], .lower, target: 50),
      Figure("commit to visible at 1,000 events/s: max", "ms", figures[2], .lower),
    ]
  }

  /// The latency of each event in milliseconds, without those of the first second.
  static func latencies(_ database: Database, rate: Int, for duration: Duration) async throws -> [Double] {
    let began = ContinuousClock.now
    let end = began + duration + .seconds(1)
    return try await withThrowingTaskGroup(of: (commits: [Moment], sights: [Moment]).self) { group in
      let writers = 4
      for number in 0..<writers {
        group.addTask {
          (try await write(database, every: .seconds(1) * writers / rate, offset: number, writers, until: end), [])
        }
      }
      group.addTask { ([], try await watch(database, until: end + .milliseconds(500))) }
      var (commits, sights): ([Moment], [Moment]) = ([], [])
      for try await part in group {
        commits += part.commits
        sights += part.sights
      }
      guard let last = sights.last?.sequence else { throw Trouble("no event was ever seen") }
      var latencies: [Double] = []
      var next = 0
      for commit in commits.sorted(by: { $0.sequence < $1.sequence }) where commit.at > began + .seconds(1) {
        guard commit.sequence <= last else { throw Trouble("event \(commit.sequence) was not seen within 500 ms") }
        while sights[next].sequence < commit.sequence { next += 1 }
        latencies.append(max(0, (sights[next].at - commit.at) / .milliseconds(1)))
      }
      return latencies
    }
  }

  private static func write(
    _ database: Database, every pause: Duration, offset: Int, _ writers: Int, until end: ContinuousClock.Instant
  ) async throws -> [Moment] {
    let session = try await Session.connect(database.options, threadName: "writer")
    var commits: [Moment] = []
    var due = ContinuousClock.now + pause * offset / writers
    while due < end {
      try await Task.sleep(until: due, tolerance: .zero, clock: .continuous)
      let sequence = try await session.prepared(
        #"SELECT seq_id FROM tidemark.append(gen_random_uuid(), '[{"type":"travel","data":{"Traveled":1}}]')"#
      ).rows[0].get(0, as: Int.self)
      commits.append(Moment(sequence: sequence, at: .now))
      due += pause
    }
    await session.close()
    return commits
  }

  private static func watch(_ database: Database, until end: ContinuousClock.Instant) async throws -> [Moment] {
    let session = try await Session.connect(database.options, threadName: "reader")
    var sights: [Moment] = []
    while ContinuousClock.now < end {
      let rows = try await session.prepared("SELECT last FROM seen WHERE id = 1").rows
      if let row = rows.first {
        let last = try row.get(0, as: Int.self)
        if last > sights.last?.sequence ?? 0 { sights.append(Moment(sequence: last, at: .now)) }
      }
      try await Task.sleep(for: .microseconds(300), tolerance: .zero)
    }
    await session.close()
    return sights
  }
}
