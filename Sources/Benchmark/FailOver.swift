import Foundation
import Glibc
import Postgres
import Processes
import Rules
import Sandbox

/// The time from `kill -9` of a node until every shard it ran has applied, on another node, an event written after the
/// kill.
///
/// Three nodes share twelve shards, and events are written all the time.
enum FailOver {
  private static let nodes = 3
  private static let shards = 12

  /// Projections whose read model is the last applied sequence, so that it shows events written after the kill.
  private static var projections: String {
    (1...shards).map { number in
      """
      [projections.P\(number)]
      tables = ["p\(number)"]
      setup = "CREATE TABLE p\(number) (id int PRIMARY KEY, last bigint NOT NULL)"
      sql = '''
      INSERT INTO p\(number) SELECT 1, max(seq_id) FROM batch HAVING count(*) > 0
      ON CONFLICT (id) DO UPDATE SET last = excluded.last
      '''

      """
    }.joined()
  }

  static func measure(_ bench: Bench) async throws -> [Figure] {
    let database = try await bench.database()
    try await database.install(projections)
    let trials = bench.isQuick ? 5 : 50
    let text = "mode = \"hotcold\"\n" + database.settingsText(projections)
    let file = "\(bench.cluster.directory)/\(UUID().uuidString).toml"
    try text.write(toFile: file, atomically: true, encoding: .utf8)
    var living: [Child] = []
    defer { for child in living { child.send(SIGKILL) } }
    func start() async throws {
      living.append(
        try await Launch(bench.program, ["run", "-c", file], output: .nothing, error: .nothing).start())
    }
    for _ in 0..<nodes { try await start() }
    let writing = Task { try await write(database) }
    defer { writing.cancel() }
    var times: [Double] = []
    while times.count < trials {
      let led = try await balanced(database)
      let victim = living.randomElement()!
      let lost = led[victim.pid]!
      let began = ContinuousClock.now
      victim.send(SIGKILL)
      living.removeAll { $0.pid == victim.pid }
      let sequence = try await append(database)
      for number in lost.sorted() { try await seen(database, number, sequence) }
      times.append((ContinuousClock.now - began) / .milliseconds(1))
      await victim.waitForEnd()
      try await start()
    }
    writing.cancel()
    _ = await writing.result
    await database.session.close()
    let title = "kill -9 of one of \(nodes) nodes to its shards at work elsewhere"
    return [
      Figure("\(title): p50 of \(trials)", "ms", times, .lower),
      Figure("\(title): p99", "ms", [times.percentile(99)], .lower, target: 1000),
      Figure("\(title): worst", "ms", [times.percentile(100)], .lower),
    ]
  }

  /// Waits until every node leads a shard, every shard has a leader, and leadership is stable; returns the shards of
  /// each process.
  private static func balanced(_ database: Database) async throws -> [pid_t: Set<Int>] {
    let deadline = ContinuousClock.now + .seconds(30)
    let keys = (1...shards).map { LeaderLock.key(schema: "public", shard: "P\($0):All") }
    var before: [pid_t: Set<Int>] = [:]
    while ContinuousClock.now < deadline {
      let led: [pid_t: Set<Int>] = try await database.session.prepared(
        """
        WITH held AS MATERIALIZED (
            SELECT l.pid, l.classid::bigint << 32 | l.objid::bigint AS key FROM pg_locks AS l
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1)
        SELECT split_part(n.name, '/', 2) AS node, k.number
          FROM tidemark.node AS n JOIN held AS a ON a.key = n.lock_key JOIN held AS b ON b.pid = a.pid
          JOIN unnest(\(keys)::bigint[]) WITH ORDINALITY AS k (key, number) ON k.key = b.key
        """
      ).rows.reduce(into: [:]) {
        $0[try $1.get("node", as: pid_t.self), default: []].insert(try $1.get("number", as: Int.self))
      }
      if led.count == nodes, led.values.reduce(0, { $0 + $1.count }) == shards, led == before {
        let sequence = try await append(database)
        for number in 1...shards { try await seen(database, number, sequence) }
        return led
      }
      before = led
      try await Task.sleep(for: .milliseconds(150))
    }
    throw Trouble("the \(nodes) nodes do not lead all \(shards) shards: \(before)")
  }

  /// Writes about 500 events per second, so that nodes are killed in the middle of pages.
  private static func write(_ database: Database) async throws {
    let session = try await Session.connect(database.options, threadName: "writer")
    while !Task.isCancelled {
      _ = try await session.prepared(
        #"SELECT tidemark.append(gen_random_uuid(), '[{"type":"travel","data":{"Traveled":1}}]')"#)
      try await Task.sleep(for: .milliseconds(2), tolerance: .zero)
    }
    await session.close()
  }

  private static func append(_ database: Database) async throws -> Int {
    try await database.session.prepared(
      #"SELECT seq_id FROM tidemark.append(gen_random_uuid(), '[{"type":"travel","data":{"Traveled":1}}]')"#
    ).rows[0].get(0, as: Int.self)
  }

  /// Waits until a reader sees the event in the read model.
  private static func seen(_ database: Database, _ number: Int, _ sequence: Int) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    let table = "p\(number)"
    while try await database.session.prepared("SELECT FROM \(identifier: table) WHERE last >= \(sequence)").rows.isEmpty
    {
      guard ContinuousClock.now < deadline else { throw Trouble("P\(number) did not continue within a minute") }
      try await Task.sleep(for: .milliseconds(1))
    }
  }
}
